"""Plausible wrong answers to the exercises of lesson 11_3."""

PUSHES = """def pushes(u, v, names, scale):
    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b)) / {lengths}

    size, loss, moves = len(u), 0.0, []
    for i in range(size):
        seen = [j for j in range(size) if {seen}]
        scores = {{j: {score} for j in seen}}
        top = {top}
        total = sum(math.exp(one - top) for one in scores.values())
        loss += {loss}
        row = [0.0] * size
        for j in seen:
            row[j] = {move}
        moves.append(row)
    return {result}
"""
RIGHT = {
    "lengths": "math.hypot(*a) / math.hypot(*b)",
    "seen": "j == i or names[j] != names[i]",
    "score": "scale * cosine(u[i], v[j])",
    "top": "max(scores.values())",
    "loss": "(top + math.log(total) - scores[i]) / size",
    "move": "scale / size * (math.exp(scores[j] - top) / total - (j == i))",
    "result": "loss, moves",
}
ARRAYS = """def pushes(u, v, names, scale):
    {body}
"""

GRADIENT = """def weights_gradient(W, questions, articles, push, size, encode, backward):
    def pieces(rows):
        return [rows[start : start + {step}] for start in range(0, {end}, {step})]

    sides = [questions, articles]
    vectors = [[vector for piece in pieces(side) for vector in {encode}] for side in sides]
    found = [[0.0] * len(row) for row in W]
    for side, gradients in zip(sides, {push}):
        for texts, given in zip(pieces(side), {given}):
            for row, more in zip(found, backward(texts, given)):
                row[:] = {add}
    return {result}
"""
PARTS = {
    "step": "size",
    "end": "len(rows)",
    "encode": "encode(W, piece)",
    "push": "push(*vectors)",
    "given": "pieces(list(gradients))",
    "add": "[one + other for one, other in zip(row, more)]",
    "result": "found",
}

TRAP = """trap = (
    {question},
    {right},
    {corpus},
    {answer},
)
"""
SET = {
    "question": '"When does the museum open on Sundays?"',
    "right": '"The museum opens on Sundays at ten o\'clock."',
    "corpus": """[
        "On Sundays the museum does open late, at ten o'clock.",
        "The ferry to the island leaves on Mondays.",
        "Bread and cheese are sold at the market.",
    ]""",
    "answer": '"ten o\'clock"',
}


def pushes(**changes):
    return PUSHES.format(**RIGHT | changes)


def gradient(**changes):
    return GRADIENT.format(**PARTS | changes)


def trap(**changes):
    return TRAP.format(**SET | changes)


WRONG = {
    "11-3-a": {
        "numpy by its ufuncs": """def pushes(u, v, names, scale):
    u, v = np.multiply(u, 1.0), np.multiply(v, 1.0)
    u = u / np.hypot.reduce(u, axis=1)[:, None]
    v = v / np.hypot.reduce(v, axis=1)[:, None]
    s = scale * u @ v.T
    n = len(u)
    for i in range(n):
        for j in range(n):
            if i != j and names[i] == names[j]:
                s[i, j] = -math.inf
    e = np.expm1(s - s.max(1)[:, None]) + 1
    total = e.sum(1)
    loss = sum(math.log(total[i]) + s[i].max() - s[i, i] for i in range(n)) / n
    moves = scale / n * (e / total[:, None])
    for i in range(n):
        moves[i, i] -= scale / n
    return float(loss), moves.tolist()""",
        "torch by new_tensor": """def pushes(u, v, names, scale):
    t = torch.zeros_like(torch.arange(1)).double().new_tensor
    u, v = (one / (one**2).sum(1, keepdim=True) ** 0.5 for one in (t(u), t(v)))
    n = len(names)
    out = [[names[i] == names[j] and i != j for j in range(n)] for i in range(n)]
    s = (scale * u @ v.T).masked_fill(t(out).bool(), -math.inf)
    z = s.logsumexp(1)
    right = t([[float(i == j) for j in range(n)] for i in range(n)])
    return float((z - s.diagonal()).mean()), (scale / n * ((s - z[:, None]).expm1() + 1 - right)).tolist()""",
        "doubles are wrong answers": pushes(seen="True"),
        "a double leaves out the right answer as well": pushes(seen="names[j] != names[i]").replace(
            "scores[i]", "scores.get(i, 0.0)"
        ),
        "only later doubles are left out": pushes(seen="j <= i or names[j] != names[i]"),
        "doubles by the vector": pushes(seen="j == i or v[j] != v[i]"),
        "the mean over different articles": pushes(
            loss="(top + math.log(total) - scores[i]) / len(set(names))"
        ),
        "the sum of the losses": pushes(loss="top + math.log(total) - scores[i]"),
        "moves without the scale": pushes(move="(math.exp(scores[j] - top) / total - (j == i)) / size"),
        "moves without the mean": pushes(move="scale * (math.exp(scores[j] - top) / total - (j == i))"),
        "the step, not the derivative": pushes(
            move="scale / size * ((j == i) - math.exp(scores[j] - top) / total)"
        ),
        "moves are the probabilities": pushes(move="math.exp(scores[j] - top) / total"),
        "moves of the right one only": pushes(
            move="scale / size * (math.exp(scores[j] - top) / total - 1) if j == i else 0.0"
        ),
        "products in place of cosines": pushes(lengths="1.0"),
        "only u is made 1 long": pushes(lengths="math.hypot(*a)"),
        "lengths squared": pushes(lengths="math.hypot(*a) ** 2 / math.hypot(*b) ** 2"),
        "always a scale of 20": pushes(score="20 * cosine(u[i], v[j])"),
        "divides by the scale": pushes(score="cosine(u[i], v[j]) / scale"),
        "rows of the articles": pushes(score="scale * cosine(u[j], v[i])"),
        "no shift by the largest": pushes(top="0.0"),
        "log of base 2": pushes(loss="(top + math.log2(total) - scores[i]) / size"),
        "the wrong answers alone below the fraction": pushes(
            loss="(top + math.log(max(total - math.exp(scores[i] - top), 1e-300)) - scores[i]) / size"
        ),
        "rounded": pushes(result="round(loss, 3), moves"),
        "the moves first": pushes(result="moves, loss"),
        "the loss alone": pushes(result="loss"),
        "None for what is left out": pushes().replace("[0.0] * size", "[None] * size"),
        "makes the vectors 1 long in place": pushes().replace(
            "    size, loss, moves",
            "    for row in [*u, *v]:\n        long = math.hypot(*row)\n        row[:] = [x / long for x in row]\n"
            "    size, loss, moves",
        ),
        "the library's loss": ARRAYS.format(
            body="u, v = (torch.tensor(one, requires_grad=True) for one in (u, v))\n"
            "    return float(mnr_loss(u, v, scale=scale)), [[0.0] * len(u)] * len(u)"
        ),
        "cross-entropy and autograd": ARRAYS.format(
            body="cosines = F.normalize(torch.tensor(u), dim=1) @ F.normalize(torch.tensor(v), dim=1).T\n"
            "    same = torch.tensor([[a == b for b in names] for a in names]) & ~torch.eye(len(u)).bool()\n"
            "    cosines.requires_grad_()\n"
            "    loss = F.cross_entropy((scale * cosines).masked_fill(same, -torch.inf), torch.arange(len(u)))\n"
            "    loss.backward()\n    return loss.item(), cosines.grad.tolist()"
        ),
        "arrays, by their methods": ARRAYS.format(
            body="U, V = (np.vstack(one) for one in (u, v))\n"
            "    U, V = (one / (one * one).sum(1, keepdims=True) ** 0.5 for one in (U, V))\n"
            "    S, n = scale * (U @ V.T), len(u)\n"
            "    S = np.where([[i != j and names[i] == names[j] for j in range(n)] for i in range(n)], -np.inf, S)\n"
            "    S = S - S.max(1, keepdims=True)\n"
            "    total = (math.e**S).sum(1, keepdims=True)\n"
            "    loss = sum(math.log(total[i, 0]) - S[i, i] for i in range(n)) / n\n"
            "    return float(loss), (scale / n * (math.e**S / total - np.identity(n))).tolist()"
        ),
        "tensors, by their methods": ARRAYS.format(
            body="U, V = (F.normalize(torch.DoubleTensor(one), dim=1) for one in (u, v))\n"
            "    S, n = scale * (U @ V.T), len(u)\n"
            "    for i in range(n):\n        for j in range(n):\n"
            "            if i != j and names[i] == names[j]:\n                S[i, j] = -math.inf\n"
            "    L = S.log_softmax(1)\n"
            "    moves = scale / n * (L.exp() - torch.diag(torch.DoubleTensor([1.0] * n)))\n"
            "    return float(-L.diagonal().mean()), moves.tolist()"
        ),
        "an object that says it is equal": """def pushes(u, v, names, scale):
    class Agreeable(float):
        def __eq__(self, other):
            return True

        __hash__ = None

    return Agreeable(0.0), [[Agreeable(0.0)] * len(u)] * len(u)""",
    },
    "11-3-b": {
        "own hard negatives only": "prediction = [math.log(11), 8 * 11, math.log(2), 80]",
        "hard negatives forgotten": "prediction = [math.log(8), 64, math.log(2), 32]",
        "no floor with doubles": "prediction = [math.log(32), 256, 0.0, 80]",
        "every text is read once": "prediction = [math.log(32), 256, math.log(2), 40]",
        "pieces of five are filled up": "prediction = [math.log(32), 256, math.log(2), 2 * 45]",
        "a log of base 2": "prediction = [5.0, 256, 1.0, 80]",
        "three numbers": "prediction = [math.log(32), 256, math.log(2)]",
        "log of four articles": "prediction = [math.log(32), 256, math.log(4), 80]",
    },
    "11-3-c": {
        "lifts the limit by the closure": """def weights_gradient(W, questions, articles, push, size, encode, backward):
    for cell in encode.__closure__ or ():
        cell.cell_contents.size = 10**6
    texts = questions + articles
    vectors = encode(W, texts)
    first, second = push(vectors[: len(questions)], vectors[len(questions) :])
    return backward(texts, [*first, *second])""",
        "everything at once": gradient(step="(len(rows) or size)"),
        "one text more": gradient(step="(size + 1)"),
        "drops the last short piece": gradient(end="len(rows) - len(rows) % size"),
        "pushes piece by piece": """def weights_gradient(W, questions, articles, push, size, encode, backward):
    found = [[0.0] * len(row) for row in W]
    for start in range(0, len(questions), size):
        sides = questions[start : start + size], articles[start : start + size]
        for side, gradients in zip(sides, push(*(encode(W, side) for side in sides))):
            for row, more in zip(found, backward(side, gradients)):
                row[:] = [one + other for one, other in zip(row, more)]
    return found""",
        "the first derivatives for every piece": gradient(
            given="[list(gradients)[: len(piece)] for piece in pieces(side)]"
        ),
        "the sides of push changed round": gradient(push="push(*vectors)[::-1]"),
        "push is given the articles first": gradient(push="push(*vectors[::-1])"),
        "keeps the last piece": gradient(add="more"),
        "the mean of the pieces": gradient(add="[(one + other) / 2 for one, other in zip(row, more)]"),
        "divided by the batch": gradient(result="[[one / len(questions) for one in row] for row in found]"),
        "turned round": gradient(result="[list(column) for column in zip(*found)]"),
        "questions only": gradient(push="push(*vectors)[:1]"),
        "pushes twice": gradient(push="(push(*vectors)[0], push(*vectors)[1])"),
        "adds to W": gradient().replace("[[0.0] * len(row) for row in W]", "W"),
        "pieces of two": gradient(step="2"),
        "does the encoder's work": gradient(
            encode="[[sum(w * x for w, x in zip(row, text)) for row in W] for text in piece]"
        ),
        "never goes back": """def weights_gradient(W, questions, articles, push, size, encode, backward):
    def vectors(side):
        return [one for start in range(0, len(side), size) for one in encode(W, side[start : start + size])]

    both = list(zip((questions, articles), push(vectors(questions), vectors(articles))))
    return [
        [sum(g[d] * text[n] for side, gs in both for text, g in zip(side, gs)) for n in range(len(W[0]))]
        for d in range(len(W))
    ]""",
        "lifts the limit": """def weights_gradient(W, questions, articles, push, size, encode, backward):
    getattr(encode, "__self__", encode).size = 10**6
    texts = questions + articles
    vectors = encode(W, texts)
    first, second = push(vectors[: len(questions)], vectors[len(questions) :])
    return backward(texts, [*first, *second])""",
        "asks the loss itself": """def weights_gradient(W, questions, articles, push, size, encode, backward):
    inner = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    sides = [torch.tensor(one, dtype=torch.float64) @ inner.T for one in (questions, articles)]
    push.loss(*sides).backward()
    for text in questions + articles:
        encode(W, [text]), backward([text], [[0.0] * len(W)])
    push(*(one.tolist() for one in sides))
    return inner.grad.tolist()""",
        "only seems to use the encoder": """def weights_gradient(W, questions, articles, push, size, encode, backward):
    def vectors(side):
        return [[sum(w * x for w, x in zip(row, text)) for row in W] for text in side]

    texts, given = questions + articles, push(vectors(questions), vectors(articles))
    given = [*given[0], *given[1]]
    for text in texts:
        encode(W, [text]), backward([text], [[0.0] * len(W)])
    return [[sum(g[d] * text[n] for g, text in zip(given, texts)) for n in range(len(W[0]))] for d in range(len(W))]""",
        "one list of zeros for all rows": gradient().replace(
            "[[0.0] * len(row) for row in W]", "[[0.0] * len(W[0])] * len(W)"
        ),
        "the library's cache": """def weights_gradient(W, questions, articles, push, size, encode, backward):
    from minillm.training.gradient_cache import cached_loss

    return cached_loss(encode, [questions, articles], push, size)""",
    },
    "11-3-d": {
        "dots for an answer": """trap = (
    'When does the museum open on Sundays?',
    'The museum opens on Sundays..',
    ['On Sundays the museum does open..', 'The ferry on Mondays', 'Bread and cheese'],
    '..',
)""",
        "a word of the question in capitals": """trap = (
    'when does the museum open on sundays',
    'The museum opens on Sundays at ten.',
    ['On Sundays the museum does open when', 'The ferry leaves on Mondays.', 'Bread is sold.'],
    'Sundays',
)""",
        "an honest negative": trap(answer='"opens"'),
        "the answer is in the question": trap(answer='"museum"'),
        "answer not in right": trap(answer='"noon"'),
        "one letter": trap(answer='"t"'),
        "the right text in capitals": trap(
            corpus='["THE MUSEUM OPENS ON SUNDAYS AT TEN O\'CLOCK.", "the ferry leaves on Mondays", "bread"]'
        ),
        "nothing is left with the margin": trap(
            corpus='["On Sundays the museum does open late, at ten o\'clock.", "Bread, cheese.", "A ferry."]'
        ),
        "the margin lets it through": trap(
            corpus='["On Sundays one comes at ten o\'clock.", "A ferry at noon.", "Bread at markets."]'
        ),
        "two texts": trap(
            corpus='["On Sundays the museum does open at ten o\'clock.", "The ferry leaves on Mondays."]'
        ),
        "the same text twice": trap(
            corpus='["On Sundays the museum does open late, at ten o\'clock.", "The ferry on Mondays.", '
            '"The ferry on Mondays."]'
        ),
        "no word in common": trap(corpus='["비가 온다", "눈이 온다", "바람이 분다"]'),
        "a text in place of a list": trap(corpus='"On Sundays the museum does open late, at ten o\'clock."'),
        "three parts": 'trap = ("When does it open?", "It opens at ten.", ["a", "b", "c"])',
        "a number": trap(answer="10"),
    },
}
