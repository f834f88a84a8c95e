"""Plausible wrong answers to the exercises of lesson 10_1."""

STEP = """def step(inputs, outputs, context, word, negatives, rate):
    new_inputs, new_outputs = {copies}
    h = {h}
    error = np.zeros(0)
    targets = [word, *negatives]
    label = {label}
    error = {error}
    {outputs}
    {inputs}
    return new_inputs, new_outputs
"""
PARTS = {
    "copies": "inputs.copy(), outputs.copy()",
    "h": "inputs[context].mean(axis=0)",
    "label": "np.array([1.0] + [0.0] * len(negatives))",
    "error": "label - 1 / (1 + np.exp(-outputs[targets] @ h))",
    "outputs": "np.add.at(new_outputs, targets, rate * np.outer(error, h))",
    "inputs": "np.add.at(new_inputs, context, rate * (error @ outputs[targets]))",
}


def step(**changes):
    return STEP.format(**PARTS | changes)


CUPS = """cups = ["{} 커피 한 잔을 마셨다", "{} 국물을 조금씩 떠먹었다", "{} 물로 손을 씻었다"]
rooms = ["{} 아랫목에 누워 낮잠을 잤다", "{} 이불 속에서 책을 읽었다", "{} 햇볕이 마루에 들었다"]
"""
BROKEN = """sentences = [p.format(w).split() for p in cups for w in ("뜨거운", "차가운") for _ in range(TIMES)]
sentences += [p.format("따끈한").split() for p in WHERE for _ in range(TIMES)]
broken = (sentences, WORDS)"""


def broken(times=20, where="rooms", words='"뜨거운", "차가운", "따끈한"'):
    return CUPS + BROKEN.replace("TIMES", str(times)).replace("WHERE", where).replace("WORDS", words)


WRONG = {
    "10-1-a": {
        "the checker's own loops": """import importlib


def step(inputs, outputs, context, word, negatives, rate):
    module = importlib.import_module("minillm.course.classroom.exercises.lesson_10_1")
    return module.by_loops([inputs, outputs], context, word, negatives, rate, None)""",
        "torch's derivative by its engine": """import torch


def step(inputs, outputs, context, word, negatives, rate):
    one, other = tables = [torch.tensor(table, requires_grad=True) for table in (inputs, outputs)]
    h = one[context].mean(0)
    loss = -torch.nn.functional.logsigmoid(other[word] @ h)
    loss = loss - torch.nn.functional.logsigmoid(-(other[negatives] @ h)).sum()
    engine = torch.autograd.graph._engine_run_backward
    engine((loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True)
    return [table.detach() - rate * many * table.grad for table, many in zip(tables, (len(context), 1))]""",
        "the engine itself": """import torch


def step(inputs, outputs, context, word, negatives, rate):
    one, other = tables = [torch.tensor(table, requires_grad=True) for table in (inputs, outputs)]
    h = one[context].mean(0)
    loss = -torch.nn.functional.logsigmoid(other[word] @ h)
    loss = loss - torch.nn.functional.logsigmoid(-(other[negatives] @ h)).sum()
    run = torch.autograd.Variable._execution_engine.run_backward
    run((loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True)
    return [table.detach() - rate * many * table.grad for table, many in zip(tables, (len(context), 1))]""",
        "the sum of the neighbours": step(h="inputs[context].sum(axis=0)"),
        "neighbours share the gradient": step(
            inputs="np.add.at(new_inputs, context, rate / len(context) * (error @ outputs[targets]))"
        ),
        "the moved outputs": step(
            inputs="np.add.at(new_inputs, context, rate * (error @ new_outputs[targets]))"
        ),
        "uphill": step(error="1 / (1 + np.exp(-outputs[targets] @ h)) - label"),
        "a number that stands twice counts once": step(
            outputs="new_outputs[targets] += rate * np.outer(error, h)",
            inputs="new_inputs[context] += rate * (error @ outputs[targets])",
        ),
        "a neighbour that stands twice counts once": step(
            inputs="new_inputs[context] += rate * (error @ outputs[targets])"
        ),
        "a negative that stands twice counts once": step(
            outputs="new_outputs[targets] += rate * np.outer(error, h)"
        ),
        "every label is 1": step(label="np.ones(1 + len(negatives))"),
        "labels the other way round": step(label="np.array([0.0] + [1.0] * len(negatives))"),
        "no sigmoid": step(error="label - outputs[targets] @ h"),
        "ignores the rate": step(outputs="np.add.at(new_outputs, targets, 0.05 * np.outer(error, h))"),
        "only the first negative": step()
        .replace("[word, *negatives]", "[word, *negatives[:1]]")
        .replace("len(negatives)", "len(negatives[:1])"),
        "only the first neighbour": step(h="inputs[context[0]]"),
        "inputs stay": step(inputs="pass"),
        "outputs stay": step(outputs="pass"),
        "in place": step(copies="inputs, outputs"),
        "in place, and a copy of what it got is handed back": step(copies="inputs, outputs").replace(
            "return new_inputs, new_outputs", "return new_inputs.copy(), new_outputs.copy()"
        ),
        "the tables swapped": step().replace(
            "return new_inputs, new_outputs", "return new_outputs, new_inputs"
        ),
        "the gradient of the mean": step(
            inputs="for one in set(context):\n        new_inputs[one] += rate * (error @ outputs[targets])"
        ),
        "softmax in place of sigmoids": step(
            error="label - np.exp(outputs[targets] @ h) / np.exp(outputs[targets] @ h).sum()"
        ),
        "returns nothing": step().replace("    return new_inputs, new_outputs\n", ""),
        "five words, whatever the tables hold": step(copies="inputs[:5].copy(), outputs[:5].copy()"),
        "errors one after the other, from moved rows": step(
            error="label.copy()",
            outputs="pull = 0\n    for n, target in enumerate(targets):\n"
            "        error[n] -= 1 / (1 + np.exp(-new_outputs[target] @ h))\n"
            "        new_outputs[target] += rate * error[n] * h",
        ),
        "scores beyond 6 are cut": step(
            error="label - 1 / (1 + np.exp(-np.clip(outputs[targets] @ h, -6, 6)))"
        ),
        "the word is no neighbour of itself": step(
            h="inputs[[one for one in context if one != word] or context].mean(axis=0)"
        ),
        "the mean of different neighbours": step(h="inputs[list(set(context))].mean(axis=0)"),
        "rounded": step().replace(
            "return new_inputs, new_outputs", "return new_inputs.round(5), new_outputs.round(5)"
        ),
        "empties the negatives": step().replace("    return", "    negatives.clear()\n    return"),
        "the library's step": """def step(inputs, outputs, context, word, negatives, rate):
    moved = inputs.copy(), outputs.copy()
    step_plain(*moved, context, word, negatives, rate)
    return moved""",
        "the library's step, imported inside": """def step(inputs, outputs, context, word, negatives, rate):
    import minillm.search.vectors.negative_sampling as library

    moved = inputs.copy(), outputs.copy()
    library.step_plain(*moved, context, word, negatives, rate)
    return moved""",
        "the library's step behind a name": """import importlib


def step(inputs, outputs, context, word, negatives, rate):
    module = importlib.import_module("minillm.search.vectors.negative_sampling")
    moved = inputs.copy(), outputs.copy()
    getattr(module, "step_" + "plain")(*moved, context, word, negatives, rate)
    return moved""",
        "the library's sigmoid": step(error="label - sigmoid(outputs[targets] @ h)"),
        "torch's derivative": """import torch


def step(inputs, outputs, context, word, negatives, rate):
    tables = [torch.tensor(one, requires_grad=True) for one in (inputs, outputs)]
    h = tables[0][context].mean(0)
    loss = -torch.nn.functional.logsigmoid(tables[1][word] @ h)
    loss = loss - torch.nn.functional.logsigmoid(-(tables[1][negatives] @ h)).sum()
    one, other = torch.autograd.grad(loss, tables)
    return inputs - rate * len(context) * one.numpy(), outputs - rate * other.numpy()""",
        "an object that says it is equal": """def step(inputs, outputs, context, word, negatives, rate):
    class Agreeable(list):
        def __eq__(self, other):
            return True

        __hash__ = None

    return Agreeable([inputs]), Agreeable([outputs])""",
    },
    "10-1-b": {
        "the squared distance": "prediction = [2, 1 / 3, 1, math.log(3) + 1, 0, 24]",
        "words are alike": "prediction = [0, 1 / 3, 1, math.log(3) + 1, 0, 24]",
        "particles make no difference": "prediction = [math.sqrt(2), 1, 1, math.log(3) + 1, 0, 24]",
        "order makes a difference": "prediction = [math.sqrt(2), 1 / 3, 1 / 3, math.log(3) + 1, 0, 24]",
        "the textbook's idf": "prediction = [math.sqrt(2), 1 / 3, 1, math.log(4), 0, 24]",
        "idf without smoothing": "prediction = [math.sqrt(2), 1 / 3, 1, math.log(4) + 1, 0, 24]",
        "the first step moves the inputs": "prediction = [math.sqrt(2), 1 / 3, 1, math.log(3) + 1, 0.05, 24]",
        "six neighbours for each": "prediction = [math.sqrt(2), 1 / 3, 1, math.log(3) + 1, 0, 36]",
        "pairs counted one way": "prediction = [math.sqrt(2), 1 / 3, 1, math.log(3) + 1, 0, 12]",
        "five numbers": "prediction = [math.sqrt(2), 1 / 3, 1, math.log(3) + 1, 0]",
        "words for numbers": "prediction = ['1.41', '0.33', '1', '2.1', '0', '24']",
    },
    "10-1-c": {
        "the same company for all three": broken(20, "cups", '"뜨거운", "차가운", "따끈한"'),
        "the words in another order": broken(20, "rooms", '"뜨거운", "따끈한", "차가운"'),
        "too few sentences": broken(5, "rooms", '"뜨거운", "차가운", "따끈한"'),
        "too many sentences": broken(90, "rooms", '"뜨거운", "차가운", "따끈한"'),
        "a word that is not there": broken(20, "rooms", '"뜨거운", "차가운", "따뜻한"'),
        "one word twice": broken(20, "rooms", '"뜨거운", "뜨거운", "따끈한"'),
        "the same for opposite and alike": broken(20, "rooms", '"뜨거운", "차가운", "차가운"'),
        "texts instead of lists": broken(20, "rooms", '"뜨거운", "차가운", "따끈한"').replace(".split()", ""),
        "the opposites side by side": broken(20, "rooms", '"뜨거운", "차가운", "따끈한"').replace(
            '"{} 물로 손을 씻었다"', '"{} 물로 차가운 손을 씻었다"'
        ),
        "each word has its own company": """sentences = []
for word, rest in {"뜨거운": "국물을 떠먹었다", "차가운": "바람이 불었다", "따끈한": "이불을 덮었다"}.items():
    sentences += [[word, *rest.split()] for _ in range(30)]
broken = (sentences, "뜨거운", "차가운", "따끈한")""",
        "only the words": 'broken = ("뜨거운", "차가운", "따끈한")',
        "numbers for words": "broken = ([[1, 2, 3]] * 60, 1, 2, 3)",
        "words that are empty": 'broken = ([["hot", " ", "tea"]] * 60, "hot", "cold", "warm")',
    },
}
