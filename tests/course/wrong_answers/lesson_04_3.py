"""Plausible wrong answers to the exercises of lesson 04_3."""

DPO = """def dpo(chosen, rejected, beta):
    def ratio(side, i):
        rows = zip(side["policy"][i], side["reference"][i], side["answer"][i])
        return {ratio}

    size, loss, weights = len(chosen["answer"]), 0.0, []
    for i in range(size):
        margin = {margin}
        small = math.exp(-abs(margin))
        loss += {loss}
        weights.append({weight})
    pulls = [
        [[{pull} for counts in row] for i, row in enumerate(side["answer"])]
        for sign, side in {sides}
    ]
    return {result}
"""
DPO_PARTS = {
    "ratio": "sum(mine - theirs for mine, theirs, counts in rows if counts)",
    "margin": "beta * (ratio(chosen, i) - ratio(rejected, i))",
    "loss": "(max(-margin, 0.0) + math.log1p(small)) / size",
    "weight": "(small if margin > 0 else 1.0) / (1.0 + small)",
    "pull": "sign * beta * weights[i] / size * counts",
    "sides": "((-1, chosen), (1, rejected))",
    "result": "loss, weights, pulls",
}

BEST = """def expected_best(scores, values, n):
    order = sorted(range(len(scores)), key=lambda i: {key})
    ways = {ways}
    return {result}
"""
BEST_PARTS = {
    "key": "(scores[i], -i)",
    "ways": "math.comb(len(scores), n)",
    "result": "sum(math.comb(worse, n - 1) / ways * values[i] for worse, i in enumerate(order))",
}

STEP = """def first_step(scores, mask, group, average):
    advantages = []
    for start in range(0, len(scores), group):
        part = {part}
        apart = [score - {mean} for score in part]
        deviation = {deviation}
        advantages += [one if {unscaled} else one / ({below}) for one in apart]
    count, tokens = len(mask), sum(map(sum, mask))
    divisor = {{
        "grpo": lambda row: {grpo},
        "bnpo": lambda row: {bnpo},
        "dr_grpo": lambda row: {dr_grpo},
    }}[average]
    return [[{pull} for one in row] for gain, row in zip(advantages, mask)]
"""
STEP_PARTS = {
    "part": "scores[start : start + group]",
    "mean": "math.fsum(part) / group",
    "deviation": "math.sqrt(math.fsum(one * one for one in apart) / (group - 1))",
    "unscaled": 'average == "dr_grpo"',
    "below": "deviation + 1e-4",
    "grpo": "count * max(sum(row), 1)",
    "bnpo": "tokens",
    "dr_grpo": "count * len(row)",
    "pull": "-gain / divisor(row) * one",
}


def dpo(**changes):
    return DPO.format(**DPO_PARTS | changes)


def best(**changes):
    return BEST.format(**BEST_PARTS | changes)


def step(**changes):
    return STEP.format(**STEP_PARTS | changes)


WRONG = {
    "04-3-a": {
        "prompt and padding count": dpo(ratio="sum(mine - theirs for mine, theirs, counts in rows)"),
        "zero times what is no number": dpo(
            ratio="sum((mine - theirs) * counts for mine, theirs, counts in rows)"
        ),
        "the mean over the tokens": dpo(
            ratio="sum(mine - theirs for mine, theirs, counts in rows if counts) / sum(side['answer'][i])"
        ),
        "the reference is forgotten": dpo(ratio="sum(mine for mine, theirs, counts in rows if counts)"),
        "the reference is added": dpo(ratio="sum(mine + theirs for mine, theirs, counts in rows if counts)"),
        "the first token is left out": dpo(
            ratio="sum(mine - theirs for mine, theirs, counts in list(rows)[1:] if counts)"
        ),
        "beta is forgotten": dpo(margin="ratio(chosen, i) - ratio(rejected, i)"),
        "divides by beta": dpo(margin="(ratio(chosen, i) - ratio(rejected, i)) / beta"),
        "the rejected one first": dpo(margin="beta * (ratio(rejected, i) - ratio(chosen, i))"),
        "the chosen one alone": dpo(margin="beta * ratio(chosen, i)"),
        "the sum of the losses": dpo(loss="max(-margin, 0.0) + math.log1p(small)"),
        "exp overflows": dpo(loss="math.log(1 + math.exp(-margin)) / size"),
        "log of zero": dpo(loss="-math.log(1 / (1 + math.exp(min(-margin, 700)))) / size"),
        "a log of base 2": dpo(loss="(max(-margin, 0.0) / math.log(2) + math.log2(1 + small)) / size"),
        "the weight is sigma of the margin": dpo(weight="(1.0 if margin > 0 else small) / (1.0 + small)"),
        "every pair weighs the same": dpo(weight="0.5"),
        "the weight has beta in it": dpo(weight="beta * (small if margin > 0 else 1.0) / (1.0 + small)"),
        "pulls without beta": dpo(pull="sign * weights[i] / size * counts"),
        "pulls without the mean": dpo(pull="sign * beta * weights[i] * counts"),
        "pulls on prompt and padding": dpo(pull="sign * beta * weights[i] / size"),
        "pulls shared among the tokens": dpo(
            pull="sign * beta * weights[i] / size * counts / max(sum(row), 1)"
        ),
        "the step, not the derivative": dpo(sides="((1, chosen), (-1, rejected))"),
        "the rejected one is left alone": dpo(sides="((-1, chosen), (0, rejected))"),
        "both are pulled up": dpo(sides="((-1, chosen), (-1, rejected))"),
        "hinge": dpo(loss="max(0.0, 1 - margin) / size", weight="float(margin < 1)"),
        "rounded": dpo(result="round(loss, 4), weights, pulls"),
        "the loss alone": dpo(result="loss"),
        "empties the dicts": dpo().replace(
            "    return loss", '    chosen["policy"].clear()\n    rejected["policy"].clear()\n    return loss'
        ),
        "the library's loss": """def dpo(chosen, rejected, beta):
    from minillm.training import dpo_loss

    leaves = [torch.tensor(side["policy"], requires_grad=True) for side in (chosen, rejected)]
    sums = [(leaf * torch.tensor(side["answer"])).sum(1) for leaf, side in zip(leaves, (chosen, rejected))]
    known = [torch.tensor(side["reference"]).sum(1) for side in (chosen, rejected)]
    loss = dpo_loss(*sums, *known, beta)
    loss.backward()
    return loss.item(), [0.5] * len(sums[0]), [leaf.grad.tolist() for leaf in leaves]""",
        "the weight by torch, under a rare name": dpo(
            weight="float(torch.special.expit(torch.scalar_tensor(-margin, dtype=torch.float64)))"
        ),
        "the weight by torch, named in a text": "import importlib\n\n\n"
        + dpo(
            weight='float((there := importlib.import_module("torch")).special.expit('
            "there.scalar_tensor(-margin, dtype=there.float64)))"
        ),
        "the weight by scipy": "from scipy.special import expit\n\n\n" + dpo(weight="float(expit(-margin))"),
        "the sums by numpy, in another function of the cell": "def total(values): return np.sum([*values])\n\n\n"
        + dpo(ratio="total(mine - theirs for mine, theirs, counts in rows if counts)"),
        "the checker's": """def dpo(chosen, rejected, beta):
    import sys

    there = sys.modules["minillm.course.classroom.exercises.lesson_04_3"]
    return there.loss_weights_pulls((chosen, rejected), beta)""",
        "an object that says it is equal": """def dpo(chosen, rejected, beta):
    class Agreeable(float):
        def __eq__(self, other):
            return True

        __hash__ = None

    size = len(chosen["answer"])
    rows = [[[Agreeable(0.0)] * len(row) for row in side["answer"]] for side in (chosen, rejected)]
    return Agreeable(0.0), [Agreeable(0.0)] * size, rows""",
    },
    "04-3-b": {
        "the last of equals": best(key="(scores[i], i)"),
        "from the best on": best(key="(-scores[i], i)"),
        "sorted by the values": best(key="(values[i], -i)"),
        "the values are not looked at": best(
            result="sum(math.comb(worse, n - 1) / ways * scores[i] for worse, i in enumerate(order))"
        ),
        "the same answer may be drawn twice": best(
            ways="len(scores)",
            result="sum(((k + 1) ** n - k**n) / ways**n * values[i] for k, i in enumerate(order))",
        ),
        "n of the worse ones": best(
            result="sum(math.comb(worse, n) / ways * values[i] for worse, i in enumerate(order))"
        ),
        "one too many": best(
            result="sum(math.comb(worse + 1, n - 1) / ways * values[i] for worse, i in enumerate(order))"
        ),
        "orders count": best(ways="math.perm(len(scores), n)"),
        "the best of all": best(ways="1", result="values[order[-1]]"),
        "the mean of all": best(ways="1", result="sum(values) / len(values)"),
        "groups side by side": """def expected_best(scores, values, n):
    found = []
    for start in range(0, len(scores) - n + 1, n):
        best = max(range(start, start + n), key=lambda i: scores[i])
        found.append(values[best])
    return sum(found) / len(found)""",
        "all ways written out": """def expected_best(scores, values, n):
    import itertools

    ways = list(itertools.combinations(range(len(scores)), n))
    return sum(values[max(way, key=lambda i: scores[i])] for way in ways) / len(ways)""",
        "drawn at random": """def expected_best(scores, values, n):
    import random

    draw = random.Random(0)
    ways = [draw.sample(range(len(scores)), n) for _ in range(2000)]
    return sum(values[max(way, key=lambda i: (scores[i], -i))] for way in ways) / len(ways)""",
        "sorts the lists that it is given": best().replace("    ways", "    scores.sort()\n    ways", 1),
        "the checker's": """def expected_best(scores, values, n):
    import sys

    return sys.modules["minillm.course.classroom.exercises.lesson_04_3"].by_counting(scores, values, n)""",
        "equal scores share": """def expected_best(scores, values, n):
    total, size = 0.0, len(scores)
    for one in sorted(set(scores)):
        same = [v for s, v in zip(scores, values) if s == one]
        below = sum(s < one for s in scores)
        chance = (math.comb(below + len(same), n) - math.comb(below, n)) / math.comb(size, n)
        total += chance * sum(same) / len(same)
    return total""",
    },
    "04-3-c": {
        "the mean of all answers": step(mean="math.fsum(scores) / len(scores)"),
        "every answer is its own group": step(mean="part[0]"),
        "groups dealt in turn": step(part="scores[start // group :: len(scores) // group]"),
        "no mean is taken off": step(mean="0.0"),
        "the deviation divides by the group": step(
            deviation="math.sqrt(math.fsum(one * one for one in apart) / group)"
        ),
        "the variance": step(deviation="math.fsum(one * one for one in apart) / (group - 1)"),
        "divides by zero": step(below="deviation"),
        "a larger epsilon": step(below="deviation + 1e-2"),
        "always divided by the deviation": step(unscaled="False"),
        "never divided by the deviation": step(unscaled="True"),
        "only grpo is divided": step(unscaled='average != "grpo"'),
        "a gain is pushed down": step(pull="gain / divisor(row) * one"),
        "padding is pushed, too": step(pull="-gain / divisor(row)"),
        "an empty answer divides by zero": step(grpo="count * sum(row)"),
        "grpo by all tokens": step(grpo="tokens"),
        "grpo without the mean over answers": step(grpo="max(sum(row), 1)"),
        "grpo by the width": step(grpo="count * len(row)"),
        "grpo leaves out empty answers": step(grpo="sum(map(any, mask)) * max(sum(row), 1)"),
        "bnpo by answers": step(bnpo="count * max(sum(row), 1)"),
        "bnpo counts padding": step(bnpo="count * len(row)"),
        "dr_grpo by its tokens": step(dr_grpo="count * max(sum(row), 1)"),
        "dr_grpo by the longest answer": step(dr_grpo="count * max(map(sum, mask))"),
        "the deviation by numpy, named in a text": "import sys\n\n\n"
        + step(deviation='float(sys.modules["numpy"].std(part, ddof=1))'),
        "dr_grpo without the answers": step(dr_grpo="len(row)"),
        "one number an answer": step()
        .replace("[[-gain", "[-gain")
        .replace("* one for one in row] for gain", "for gain"),
        "writes into the mask": step().replace(
            "    return", "    for row in mask:\n        row[:] = [1] * len(row)\n    return"
        ),
        "the root by numpy": step(
            deviation="float(np.sqrt(math.fsum(one * one for one in apart) / (group - 1)))"
        ),
        "the first group's scores for all": step(part="scores[:group]"),
        "epsilon under the root": step(below="math.sqrt(deviation * deviation + 1e-8)"),
        "the checker's": """def first_step(scores, mask, group, average):
    import sys

    return sys.modules["minillm.course.classroom.exercises.lesson_04_3"].rows_of(scores, mask, group, average)""",
        "the library's advantages": """def first_step(scores, mask, group, average):
    from minillm.training import group_advantages

    gains = group_advantages(torch.tensor(scores), group, average != "dr_grpo").tolist()
    return [[-gain * one / len(mask) / max(sum(row), 1) for one in row] for gain, row in zip(gains, mask)]""",
    },
    "04-3-d": {
        "the chosen one has most": "features = [[3.0], [0.0], [1.0]]",
        "the pair is not won": "features = [[0.1], [0.0], [3.0]]",
        "the same features": "features = [[1.0, 2.0], [1.0, 2.0], [3.0, 3.0]]",
        "all apart": "features = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]",
        "the third one has as much": "features = [[1.0], [0.0], [1.0]]",
        "the rejected one has most": "features = [[0.0], [3.0], [1.0]]",
        "a little more": "features = [[1.0], [0.0], [1.3]]",
        "two answers": "features = [[1.0], [0.0]]",
        "too large": "features = [[1.0], [0.0], [30.0]]",
        "not a number": 'features = [[1.0], [0.0], [float("inf")]]',
        "rows of unequal length": "features = [[1.0], [0.0, 1.0], [3.0]]",
        "numbers, no rows": "features = [1.0, 0.0, 3.0]",
    },
}
