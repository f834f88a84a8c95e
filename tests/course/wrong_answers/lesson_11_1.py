"""Plausible wrong answers to the exercises of lesson 11_1."""

CONTRASTIVE = """def contrastive(u, v, labels, margin):
    length_u, length_v = u.norm(dim=1, keepdim=True), v.norm(dim=1, keepdim=True)
    a, b = {units}
    s = (a * b).sum(1)
    d = {distance}
    lack = {lack}
    loss = {loss}
    slope = {slope}
    to_u = {to_u}
    to_v = {to_v}
    return {result}
"""
RIGHT = {
    "units": "u / length_u, v / length_v",
    "distance": "1 - s",
    "lack": "torch.clamp(margin - d, min=0)",
    "loss": "(0.5 * (labels * d**2 + (1 - labels) * lack**2)).mean()",
    "slope": "((1 - labels) * lack - labels * d)[:, None] / len(u)",  # of the loss, by s
    "to_u": "slope * (b - s[:, None] * a) / length_u",
    "to_v": "slope * (a - s[:, None] * b) / length_v",
    "result": "loss, to_u, to_v",
}
TRIPLETS = """def triplets(pairs, line):
    found = []
    for first, positive, high in pairs:
        for other, negative, low in pairs:
            if {when}:
                found.append({what})
    return found
"""
WHEN, WHAT = "first == other and high >= line and low < line", "(first, positive, negative)"
MOVES = ["together", "nothing", "apart", "nothing", "apart", "together", "apart", "nothing"]
ROWS = [(0, 40, 3, 0), (60, 75, 4, 1), (90, 110, 5, 2)]


def contrastive(**changes):
    return CONTRASTIVE.format(**RIGHT | changes)


def triplets(when=WHEN, what=WHAT):
    return TRIPLETS.format(when=when, what=what)


def moves(**changes):
    """The right prediction with some items changed: _3="nothing" is the third one."""
    found = [changes.get(f"_{place}", one) for place, one in enumerate(MOVES, start=1)]
    return f"prediction = {found}"


def rows(*changed, keep=3):
    return f"rows = {[*changed, *ROWS[len(changed) : keep]]}"


LIBRARY = """def contrastive(u, v, labels, margin):
    from minillm.search{place} import contrastive_loss as theirs

    u, v = u.clone().requires_grad_(), v.clone().requires_grad_()
    loss = theirs(u, v, labels, margin)
    {derive}
    return loss.detach(), {gradients}
"""
AUTOGRAD = """def contrastive(u, v, labels, margin):
    leaves = [u.clone().requires_grad_(), v.clone().requires_grad_()]
    d = 1 - F.cosine_similarity(*leaves)
    loss = (0.5 * (labels * d**2 + (1 - labels) * torch.clamp(margin - d, min=0) ** 2)).mean()
    {derive}
    return loss.detach(), {gradients}
"""

QUOTIENTS = """def contrastive(u, v, labels, margin):
    def each(u, v):
        s = (u * v).sum(1) / u.norm(dim=1) / v.norm(dim=1)
        return 0.5 * (labels * (1 - s) ** 2 + (1 - labels) * torch.clamp(margin - 1 + s, min=0) ** 2) / len(u)

    def quotient(f, x):
        steps = torch.eye(x.shape[1], dtype=x.dtype)
        return torch.stack([{quotient} for step in steps], 1)

    return each(u, v).sum(), quotient(lambda x: each(x, v), u), quotient(lambda x: each(u, x), v)
"""

WRONG = {
    "11-1-a": {
        "the engine behind backward": """def contrastive(u, v, labels, margin):
    with torch.inference_mode(False), torch.enable_grad():
        a, b = u.clone().requires_grad_(), v.clone().requires_grad_()
        d = 1 - F.cosine_similarity(a, b)
        l = 0.5 * (labels.clone() * d**2 + (1 - labels.clone()) * torch.clamp(margin - d, min=0) ** 2).mean()
        engine, one = torch.autograd.Variable._execution_engine, (torch.ones_like(l),)
        engine.run_backward((l,), one, False, False, (), allow_unreachable=True, accumulate_grad=True)
        return l.detach(), a.grad, b.grad""",
        "float32": contrastive(result="loss.float(), to_u.float(), to_v.float()"),
        "quotients of differences": QUOTIENTS.format(
            quotient="(f(x + 1e-6 * step) - f(x - 1e-6 * step)) / 2e-6"
        ),
        "quotients of differences of four points": QUOTIENTS.format(
            quotient="(8 * (f(x + 1e-3 * step) - f(x - 1e-3 * step)) - f(x + 2e-3 * step) + f(x - 2e-3 * step)) / 12e-3"
        ),
        "lengths are forgotten in the gradient": contrastive(
            to_u="slope * (b - s[:, None] * a)", to_v="slope * (a - s[:, None] * b)"
        ),
        "only the length of u is forgotten": contrastive(to_u="slope * (b - s[:, None] * a)"),
        "lengths multiplied": contrastive(to_u="slope * (b - s[:, None] * a) * length_u"),
        "the cosine of vectors of length 1": contrastive(units="u, v"),
        "the gradient points along the other vector": contrastive(
            to_u="slope * b / length_u", to_v="slope * a / length_v"
        ),
        "the wrong vector is taken off": contrastive(to_u="slope * (b - s[:, None] * b) / length_u"),
        "a sum in the gradient": contrastive(slope="((1 - labels) * lack - labels * d)[:, None]"),
        "a sum in the loss": contrastive(loss="(0.5 * (labels * d**2 + (1 - labels) * lack**2)).sum()"),
        "without the half in the loss": contrastive(loss="(labels * d**2 + (1 - labels) * lack**2).mean()"),
        "twice the gradient": contrastive(slope="2 * ((1 - labels) * lack - labels * d)[:, None] / len(u)"),
        "half the gradient": contrastive(slope="((1 - labels) * lack - labels * d)[:, None] / len(u) / 2"),
        "the way a step goes": contrastive(slope="(labels * d - (1 - labels) * lack)[:, None] / len(u)"),
        "label 1 pushes as well": contrastive(slope="((1 - labels) * lack + labels * d)[:, None] / len(u)"),
        "labels the other way round": contrastive(
            loss="(0.5 * ((1 - labels) * d**2 + labels * lack**2)).mean()",
            slope="(labels * lack - (1 - labels) * d)[:, None] / len(u)",
        ),
        "no margin: label 0 is pushed for ever": contrastive(lack="margin - d"),
        "the margin is 0.5": contrastive(lack="torch.clamp(0.5 - d, min=0)"),
        "the margin is on the cosine": contrastive(lack="torch.clamp(margin - s, min=0)"),
        "the hinge in the loss alone": contrastive(
            slope="((1 - labels) * (margin - d) - labels * d)[:, None] / len(u)"
        ),
        "the hinge for both labels": contrastive(
            loss="(0.5 * (labels * torch.clamp(d - margin, min=0) ** 2 + (1 - labels) * lack**2)).mean()",
            slope="((1 - labels) * lack - labels * torch.clamp(d - margin, min=0))[:, None] / len(u)",
        ),
        "the hinge without its square": contrastive(
            loss="(0.5 * (labels * d**2 + (1 - labels) * lack)).mean()",
            slope="((1 - labels) * (lack > 0) / 2 - labels * d)[:, None] / len(u)",
        ),
        "labels are rounded": contrastive(
            loss="(0.5 * torch.where(labels >= 0.5, d**2, lack**2)).mean()",
            slope="torch.where(labels >= 0.5, -d, lack)[:, None] / len(u)",
        ),
        "the euclidean distance": contrastive(distance="(a - b).norm(dim=1)"),
        "half of the distance": contrastive(distance="(1 - s) / 2"),
        "the mean over the width, too": contrastive(
            slope="((1 - labels) * lack - labels * d)[:, None] / u.numel()"
        ),
        "v stands still": contrastive(to_v="torch.zeros_like(v)"),
        "the gradients change places": contrastive(result="loss, to_v, to_u"),
        "the gradient comes first": contrastive(result="to_u, to_v, loss"),
        "one gradient alone": contrastive(result="loss, to_u"),
        "losses of the pairs": contrastive(loss="0.5 * (labels * d**2 + (1 - labels) * lack**2)"),
        "makes the given vectors 1 long": contrastive(units="u.div_(length_u), v.div_(length_v)"),
        "the library's loss": LIBRARY.format(place="", derive="loss.backward()", gradients="u.grad, v.grad"),
        "the library's loss, from its file": LIBRARY.format(
            place=".losses",
            derive="one, other = torch.autograd.grad(loss, (u, v))",
            gradients="one, other",
        ),
        "backward": AUTOGRAD.format(derive="loss.backward()", gradients="leaves[0].grad, leaves[1].grad"),
        "torch.autograd.grad": AUTOGRAD.format(
            derive="one, other = torch.autograd.grad(loss, leaves)", gradients="one, other"
        ),
        "torch.func.grad": """def contrastive(u, v, labels, margin):
    def loss(u, v):
        d = 1 - F.cosine_similarity(u, v)
        return (0.5 * (labels * d**2 + (1 - labels) * torch.clamp(margin - d, min=0) ** 2)).mean()

    return loss(u, v), *torch.func.grad(loss, argnums=(0, 1))(u, v)
""",
        "keeps the first answer for its shape": "SEEN = {}\n\n\n"
        + contrastive(result="SEEN.setdefault((u.shape, margin), (loss, to_u, to_v))"),
        "prints instead of returning": contrastive().replace("return ", "print(").rstrip() + ")\n",
    },
    "11-1-b": {
        "label 1 is left alone near 1": moves(_1="nothing"),
        "equal vectors are pulled": moves(_2="together"),
        "the margin is a cosine": moves(_3="nothing", _4="apart"),
        "label 0 is pushed for ever": moves(_4="apart"),
        "a label of 0.4 means: not alike": moves(_6="apart"),
        "a label of 0.4 means: alike": moves(_5="together"),
        "a label of 0.4 is rounded to nothing": moves(_5="nothing", _6="nothing"),
        "nearer is enough for a triplet": moves(_7="nothing"),
        "a positive is always pulled": moves(_8="together"),
        "both of the triplets": moves(_7="together", _8="apart"),
        "only the first six": f"prediction = {MOVES[:6]}",
        "signs": "prediction = [1, 0, -1, 0, -1, 1, -1, 0]",
        "one text": f"prediction = {' '.join(MOVES)!r}",
        "in another order": f"prediction = {MOVES[::-1]}",
        "true and false": "prediction = [True, False, True, False, True, True, True, False]",
    },
    "11-1-c": {
        "the order is right": rows((0, 40, 5, 0), (10, 50, 4, 1), (20, 60, 3, 2)),
        "the triplets cost something": rows((0, 10, 3, 0)),
        "the positive is farther than the negative": rows((40, 0, 3, 0)),
        "two rows": rows(keep=2),
        "no rows": "rows = []",
        "seven rows": f"rows = {[(n, 60 + n, 4, 1) for n in range(7)]}",
        "a positive with score 2": rows((0, 40, 2, 0)),
        "a negative with score 3": rows(*ROWS[:2], (90, 110, 5, 3)),
        "scores out of range": rows(*ROWS[:2], (90, 110, 9, 2)),
        "a negative score": rows((0, 40, 3, -1)),
        "angles out of range": rows(*ROWS[:2], (90, 190, 5, 2)),
        "cosines for angles": "rows = [(1.0, 0.8, 3, 0), (0.5, 0.3, 4, 1), (0.0, -0.3, 5, 2)]",
        "the same row three times": f"rows = {[(0, 40, 4, 1)] * 3}",
        "scores alone are upside down": rows((0, 100, 3, 2), (5, 110, 4, 1), (10, 120, 5, 0)),
        "three numbers a row": "rows = [(0, 40, 3), (60, 75, 4), (90, 110, 5)]",
        "no number": rows((0, 40, 3, float("nan"))).replace("nan", "float('nan')"),
        "a dict": "rows = {0: (0, 40, 3, 0)}",
        "radians": "rows = [(0.0, 0.7, 3, 0), (1.05, 1.3, 4, 1), (1.57, 1.92, 5, 2)]",
    },
    "11-1-d": {
        "a second text has one score for all firsts": """def triplets(pairs, line):
    score = {second: value for _, second, value in pairs}
    firsts = dict.fromkeys(first for first, _, _ in pairs)
    return [(f, p, n) for f in firsts for g, p, _ in pairs if g == f and score[p] >= line
            for h, n, _ in pairs if h == f and score[n] < line]""",
        "a second text belongs to its last first": """def triplets(pairs, line):
    of = {second: (first, value) for first, second, value in pairs}
    return [(f, p, n) for p, (f, high) in of.items() for n, (g, low) in of.items() if f == g and low < line <= high]""",
        "firsts are mixed": triplets(when="high >= line and low < line"),
        "negatives of other firsts": triplets(when="first != other and high >= line and low < line"),
        "above the line only": triplets(when="first == other and high > line and low < line"),
        "at the line on both sides": triplets(when="first == other and high >= line and low <= line"),
        "the line is 3": triplets(when="first == other and high >= 3 and low < 3"),
        "every order of scores": triplets(when="first == other and high > low"),
        "positive and negative change places": triplets(what="(first, negative, positive)"),
        "the anchor comes last": triplets(what="(positive, negative, first)"),
        "the scores come with them": triplets(what="(first, positive, negative, high - low)"),
        "the best with the worst": """def triplets(pairs, line):
    found = []
    for first in dict.fromkeys(one for one, *_ in pairs):
        own = sorted((score, text) for one, text, score in pairs if one == first)
        if own[-1][0] >= line > own[0][0]:
            found.append((first, own[-1][1], own[0][1]))
    return found
""",
        "one negative for each positive": """def triplets(pairs, line):
    found = []
    for first in dict.fromkeys(one for one, *_ in pairs):
        good = [text for one, text, score in pairs if one == first and score >= line]
        bad = [text for one, text, score in pairs if one == first and score < line]
        found += [(first, p, n) for p, n in zip(good, bad)]
    return found
""",
        "neighbours in the list only": """import itertools


def triplets(pairs, line):
    found = []
    for first, rows in itertools.groupby(pairs, key=lambda pair: pair[0]):
        rows = list(rows)
        good = [text for _, text, score in rows if score >= line]
        bad = [text for _, text, score in rows if score < line]
        found += [(first, p, n) for p in good for n in bad]
    return found
""",
        "six pairs a first sentence": """def triplets(pairs, line):
    return [
        (pairs[start][0], p, n)
        for start in range(0, len(pairs), 6)
        for _, p, high in pairs[start : start + 6]
        for _, n, low in pairs[start : start + 6]
        if high >= line > low
    ]
""",
        "a first text without negatives brings its positives": """def triplets(pairs, line):
    found = []
    for first in dict.fromkeys(one for one, *_ in pairs):
        good = [text for one, text, score in pairs if one == first and score >= line]
        bad = [text for one, text, score in pairs if one == first and score < line] or [""]
        found += [(first, p, n) for p in good for n in bad]
    return found
""",
        "empties the list": """def triplets(pairs, line):
    rows = []
    while pairs:
        rows.append(pairs.pop(0))
    return [(a, p, n) for a, p, high in rows for b, n, low in rows if a == b and high >= line > low]
""",
        "each triplet twice": triplets(what="(first, positive, negative)").replace(
            "return found", "return found + found"
        ),
        "one text a triplet": triplets(what='" ".join((first, positive, negative))'),
        "a list that is equal to anything": """class Any(list):
    def __eq__(self, other):
        return True


def triplets(pairs, line):
    return Any()
""",
        "nothing comes back": triplets().replace("    return found\n", ""),
    },
}
