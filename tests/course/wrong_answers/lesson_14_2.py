"""Plausible wrong answers to the exercises of lesson 14_2."""

LOSS = """def loss(pictures, captions, scale, same):
    {before}

    def unit(x):
        length = {length}
        return [a / length for a in x]

    def one_way(table):
        total = 0.0
        for i, (row, number) in enumerate(zip(table, same)):
            top = {top}
            norm = top + math.log(sum(math.exp(x - top) for x in row))
            right = [norm - x for j, (x, other) in enumerate(zip(row, same)) if {right}]
            total += {share}
        return total / {count}

    u, v = [unit(x) for x in pictures], [unit(x) for x in captions]
    scores = [[{scale} * sum(a * b for a, b in zip(x, y)) for y in v] for x in u]
    other = {other}
    return {result}"""
OF_LOSS = {
    "before": "pass",
    "length": "math.sqrt(sum(a * a for a in x))",
    "top": "max(row)",
    "right": "other == number",
    "share": "sum(right) / len(right)",
    "count": "len(table)",
    "scale": "scale",
    "other": "[list(column) for column in zip(*scores)]",
    "result": "(one_way(scores) + one_way(other)) / 2",
}
CLASSIFY = """def classify(encode, picture, names, templates, scale):
    {before}

    def unit(x):
        length = math.sqrt(sum(a * a for a in x))
        return [a / length for a in x]

    scores = []
    for name in names:
        vectors = [{one}(encode({text})) for template in {templates}]
        mean = {whole}([sum(column) / len(vectors) for column in zip(*vectors)])
        scores.append({scale} * sum(a * b for a, b in zip({picture}, mean)))
    odds = [{odds} for x in scores]
    return {result}"""
OF_CLASSIFY = {
    "before": "pass",
    "one": "unit",
    "text": 'template.replace("{}", name)',
    "templates": "templates",
    "whole": "unit",
    "scale": "scale",
    "picture": "unit(picture)",
    "odds": "math.exp(x - max(scores))",
    "result": "[x / sum(odds) for x in odds]",
}
TABLES = """n = {n}
better_recall = [[{own} if i == j else {rest} for j in range({columns})] for i in range(n)]
better_loss = [[{sure} if i == j else {far} for j in range(n)] for i in range(n)]
{after}"""
OF_TABLES = {
    "n": "4",
    "own": "0.02",
    "rest": "0.0",
    "columns": "n",
    "sure": "0.9",
    "far": "0.0",
    "after": "better_loss[3][2] = better_loss[2][3] = 0.91",
}
BY_HAND = ["20_300", "3.466", "0.313", "0.347", "0.881"]


def loss(**changed: str) -> str:
    return LOSS.format(**OF_LOSS | changed)


def classify(**changed: str) -> str:
    return CLASSIFY.format(**OF_CLASSIFY | changed)


def tables(**changed: str) -> str:
    return TABLES.format(**OF_TABLES | changed)


def by_hand(place: int, number: str) -> str:
    return f"prediction = [{', '.join([*BY_HAND[: place - 1], number, *BY_HAND[place:]])}]"


WRONG = {
    "14-2-a": {
        "the library's": (
            "from minillm.training import clip_loss\n\n\ndef loss(pictures, captions, scale, same):\n"
            "    u, v = (F.normalize(torch.tensor(x, dtype=torch.float64), dim=1) for x in (pictures, captions))\n"
            "    return clip_loss(u, v, torch.tensor(scale).log(), torch.tensor(same)).item()"
        ),
        "torch's cross-entropy": (
            "def loss(pictures, captions, scale, same):\n"
            "    u, v = (F.normalize(torch.tensor(x, dtype=torch.float64), dim=1) for x in (pictures, captions))\n"
            "    alike = (torch.tensor(same)[:, None] == torch.tensor(same)).double()\n"
            "    right, s = alike / alike.sum(1, keepdim=True), scale * u @ v.T\n"
            "    return float((F.cross_entropy(s, right) + F.cross_entropy(s.T, right)) / 2)"
        ),
        "numpy": (
            "def loss(pictures, captions, scale, same):\n"
            "    u, v = (np.array(x) / np.linalg.norm(x, axis=1)[:, None] for x in (pictures, captions))\n"
            "    s, alike = scale * u @ v.T, np.equal.outer(same, same)\n"
            "    right = alike / alike.sum(1)[:, None]\n"
            "    way = lambda t: (right * (np.log(np.exp(t - t.max(1)[:, None]).sum(1)) + t.max(1)"
            ")[:, None] - right * t).sum(1).mean()\n"
            "    return (way(s) + way(s.T)) / 2"
        ),
        "pictures to captions alone": loss(result="one_way(scores)"),
        "captions to pictures alone": loss(result="one_way(other)"),
        "the sum of both ways": loss(result="one_way(scores) + one_way(other)"),
        "one way twice": loss(other="scores"),
        "targets are not shared": loss(right="i == j"),
        "shared, but not in equal parts": loss(share="min(right)"),
        "every right one counts in full": loss(share="sum(right)"),
        "right ones are put together": loss(
            share="min(right) - math.log(sum(math.exp(min(right) - r) for r in right))"
        ),
        "shared by rows alone": loss(result="(one_way(scores) + one_way(other)) / 2")
        .replace(
            "    return (one_way",
            "    given, same = same, list(range(len(same)))\n    return (one_way",
        )
        .replace("def one_way(table):", "def one_way(table):\n        nonlocal same"),
        "not brought to length 1": loss(length="1.0"),
        "pictures alone are of length 1": loss().replace("[unit(x) for x in captions]", "captions"),
        "the sum of the numbers as length": loss(length="sum(map(abs, x))"),
        "squared length": loss(length="sum(a * a for a in x)"),
        "divided by the scale": loss(scale="1 / scale *").replace("* *", "*"),
        "exp of the scale": loss(scale="math.exp(min(scale, 700))"),
        "the scale is held at 100": loss(scale="min(scale, 100.0)"),
        "no scale": loss(scale="1.0"),
        "the softmax overflows": loss(top="0.0"),
        "the sum over the batch": loss(count="1"),
        "neighbours count as the same": loss(right="abs(other - number) <= 1"),
        "the captions are changed": loss(before="captions[0] = [2 * x for x in captions[0]]"),
        "the numbers are sorted": loss(before="same.sort()"),
        "rounded": loss(result="round((one_way(scores) + one_way(other)) / 2, 3)"),
    },
    "14-2-b": {
        "the first template": classify(templates="templates[:1]"),
        "the last template": classify(templates="templates[-1:]"),
        "texts keep their lengths": classify(one=""),
        "the mean keeps its length": classify(whole=""),
        "the picture keeps its length": classify(picture="picture"),
        "no scale": classify(scale="1"),
        "the scale is a temperature": classify(scale="1 / scale *").replace("* *", "*"),
        "the scale is held at 100": classify(scale="min(scale, 100)"),
        "the softmax overflows": classify(odds="math.exp(x)"),
        "scores, no probabilities": classify(result="scores"),
        "odds": classify(result="odds"),
        "the best class alone": classify(result="[1.0 if x == max(scores) else 0.0 for x in scores]"),
        "the name alone": classify(text="name"),
        "one place alone": classify(text='template.replace("{}", name, 1)'),
        "the template as it is": classify(text="template"),
        "in small letters": classify(text='template.replace("{}", name).title()'),
        "the mean of the probabilities": (
            "def classify(encode, picture, names, templates, scale):\n"
            "    unit = lambda x: [a / math.sqrt(sum(b * b for b in x)) for a in x]\n"
            "    total = [0.0] * len(names)\n"
            "    for template in templates:\n"
            "        vectors = [unit(encode(template.replace('{}', name))) for name in names]\n"
            "        scores = [scale * sum(a * b for a, b in zip(unit(picture), v)) for v in vectors]\n"
            "        odds = [math.exp(x - max(scores)) for x in scores]\n"
            "        total = [t + x / sum(odds) / len(templates) for t, x in zip(total, odds)]\n"
            "    return total"
        ),
        "the best template of each class": (
            "def classify(encode, picture, names, templates, scale):\n"
            "    unit = lambda x: [a / math.sqrt(sum(b * b for b in x)) for a in x]\n"
            "    cosine = lambda x, y: sum(a * b for a, b in zip(unit(x), unit(y)))\n"
            "    best = lambda n: max(cosine(picture, encode(t.replace('{}', n))) for t in templates)\n"
            "    scores = [scale * best(n) for n in names]\n"
            "    odds = [math.exp(x - max(scores)) for x in scores]\n"
            "    return [x / sum(odds) for x in odds]"
        ),
        "backwards": classify(result="[x / sum(odds) for x in odds][::-1]"),
        "the names are emptied": classify(result="([x / sum(odds) for x in odds], names.clear())[0]"),
        "the picture is changed": classify(before="picture[0] *= 2").replace("pass", ""),
        "torch": (
            "def classify(encode, picture, names, templates, scale):\n"
            "    v = torch.tensor([[encode(t.replace('{}', n)) for t in templates] for n in names]).double()\n"
            "    mean = F.normalize(F.normalize(v, dim=2).mean(1), dim=1)\n"
            "    return (scale * mean @ F.normalize(torch.tensor(picture).double(), dim=0)).softmax(0)"
        ),
    },
    "14-2-c": {
        "the same table twice": tables(after="better_loss = better_recall"),
        "nothing is missed": tables(after="pass"),
        "a tie is no miss": tables(after="better_loss[3][2] = better_loss[2][3] = 0.9"),
        "one row misses, no column": tables(after="better_loss[3][2] = 0.91\nbetter_loss[2][2] = 0.95"),
        "the names are exchanged": tables(
            after="better_loss[3][2] = better_loss[2][3] = 0.91\n"
            "better_loss, better_recall = better_recall, better_loss"
        ),
        "the loss is lower by little": tables(own="0.08"),
        "recall by luck": tables(own="0.0005"),
        "above 1": tables(sure="1.5", after="better_loss[3][2] = better_loss[2][3] = 1.51"),
        "below -1": tables(far="-1.5"),
        "two pairs": tables(n="2", after="better_loss[1][0] = better_loss[0][1] = 0.91"),
        "nine pairs": tables(
            n="9", after="for a, b in ((8, 7), (7, 8), (6, 5), (5, 6)):\n    better_loss[a][b] = 0.91"
        ),
        "not square": tables(columns="n + 1"),
        "two sizes": tables(after="better_loss = [[0.9, 0, 0], [0, 0.9, 0.91], [0, 0.91, 0.9]]"),
        "words": tables(own="'a lot'"),
        "one of eight misses": tables(n="8", after="better_loss[3][2] = 0.91\nbetter_loss[2][3] = 0.0"),
        "logits": tables(own="0.4", sure="18", after="better_loss[3][2] = better_loss[2][3] = 18.2"),
    },
    "14-2-d": {
        "every pair is read together": by_hand(1, "6_000_000"),
        "the pictures again for each sentence": by_hand(1, "6_000_300"),
        "pictures alone": by_hand(1, "20_000"),
        "to the base of two": by_hand(2, "5.0"),
        "both ways added": by_hand(2, "6.931"),
        "a probability in place of a loss": by_hand(3, "0.731"),
        "no scale": by_hand(3, "0.644"),
        "nothing is left": by_hand(4, "0.0"),
        "of the two pairs alone": by_hand(4, "0.693"),
        "a quarter": by_hand(4, "0.173"),
        "the ratio of the cosines": by_hand(5, "0.545"),
        "no scale, again": by_hand(5, "0.512"),
        "four numbers": "prediction = [20_300, 3.466, 0.313, 0.347]",
    },
}
