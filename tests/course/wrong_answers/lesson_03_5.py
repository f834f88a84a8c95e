"""Plausible wrong answers to the exercises of lesson 03_5."""

SPAN = """
import math

def answer(start, end, places, inside, longest):
    allowed = {allowed}
    sums = [sum(math.exp(row[i]) for i in allowed) for row in (start, end)]
    best = (-1.0, 0, 0)
    for i in range(len(start)):
        for j in {ends}:
            if {fits}:
                score = math.exp(start[i]) / sums[0] * math.exp(end[j]) / sums[1]
                best = max(best, (score, i, j))
    score, i, j = best
    return {result}
"""
RIGHT = {
    "allowed": "[i for i in range(len(start)) if inside[i] or i == 0]",
    "ends": "range(i, min(i + longest, len(start)))",
    "fits": "inside[i] and inside[j]",
    "result": "places[i][0], places[j][1], score",
}


def span(**changes):
    return SPAN.format(**RIGHT | changes)


NAMES = """
def names(labels, places):
    found, before = [], "O"
    for label, (start, end) in zip(labels, places):
        tag = {tag}
        if {joins}:
            found[-1] = (found[-1][0], found[-1][1], {end})
        elif {begins}:
            found.append((tag, start, end))
        {remember}
    return found
"""
GOOD = {
    "tag": "label[2:]",
    "joins": "label.startswith('I-') and before[2:] == tag",
    "end": "end",
    "begins": "label != 'O'",
    "remember": "before = label",
}


def labels(**changes):
    return NAMES.format(**GOOD | changes)


def broken(row, length, why="b"):
    return f"row, length, why = {row}, {length}, {why!r}"


PIPELINE = """
def classify(model, rows, names, pad_id, batch_size):
    order = sorted(range(len(rows)), key=lambda i: {key})
    found = {empty}
    for start in range(0, len(rows), {size}):
        places = order[start : start + {size}]
        width = {width}
        ids = [{ids} for i in places]
        mask = [{mask} for i in places]
        with {quiet}:
            logits = model(torch.tensor(ids), torch.tensor(mask))
        scores = {scores}
        for place, row in zip(places, scores):
            {store}
    return {result}
"""
SOUND = {
    "key": "-len(rows[i])",
    "empty": "[None] * len(rows)",
    "size": "batch_size",
    "width": "max(len(rows[i]) for i in places)",
    "ids": "rows[i] + [pad_id] * (width - len(rows[i]))",
    "mask": "[1] * len(rows[i]) + [0] * (width - len(rows[i]))",
    "quiet": "torch.no_grad()",
    "scores": "logits.softmax(-1)",
    "store": "found[place] = {'label': names[int(row.argmax())], 'score': row.max().item()}",
    "result": "found",
}


def piped(**changes):
    return PIPELINE.format(**SOUND | changes)


WRONG = {
    "03-5-a": {
        "leaves [CLS] out of the softmax": span(allowed="[i for i in range(len(start)) if inside[i]]"),
        "softmax over all tokens": span(allowed="range(len(start))"),
        "the end may stand before the start": span(ends="range(len(start))"),
        "one token too many": span(ends="range(i, min(i + longest + 1, len(start)))"),
        "one token too few": span(ends="range(i, min(i + max(longest - 1, 1), len(start)))"),
        "ignores the longest": span(ends="range(i, len(start))"),
        "a span of two at least": span(ends="range(i + 1, min(i + longest, len(start)))"),
        "does not look where the end lies": span(fits="inside[i]"),
        "does not look where the start lies": span(fits="inside[j]"),
        "[CLS] may be an answer": span(fits="(inside[i] or i == 0) and (inside[j] or j == 0)"),
        "every token between must be inside": span(fits="all(inside[i : j + 1])"),
        "counts only the tokens inside": span(
            ends="range(i, len(start))", fits="inside[i] and inside[j] and sum(inside[i : j + 1]) <= longest"
        ),
        "the logarithm of the score": span(result="places[i][0], places[j][1], math.log(score)"),
        "a share of all spans": span(
            result="places[i][0], places[j][1], score / sum(math.exp(start[a] + end[b]) / sums[0] / sums[1] "
            "for a in range(len(start)) for b in range(a, len(start)) if inside[a] and inside[b])"
        ),
        "characters instead of tokens are limited": span(
            ends="range(i, len(start))",
            fits="inside[i] and inside[j] and places[j][1] - places[i][0] <= longest",
        ),
        "marks [CLS] in the list it got": span(
            allowed="[i for i in range(len(start)) if inside[i] or i == 0]"
        ).replace("    sums", "    inside[0] = True\n    sums", 1),
        "gives tokens, not characters": span(result="i, j, score"),
        "the last token's first character": span(result="places[i][0], places[j][0], score"),
        "the sum of both": span(
            result="places[i][0], places[j][1], math.exp(start[i]) / sums[0] + math.exp(end[j]) / sums[1]"
        ),
        "the best start, then the best end behind it": """
import math

def answer(start, end, places, inside, longest):
    allowed = [i for i in range(len(start)) if inside[i] or i == 0]
    sums = [sum(math.exp(row[i]) for i in allowed) for row in (start, end)]
    mine = [i for i in allowed if inside[i]]
    i = max(mine, key=lambda n: start[n])
    j = max((n for n in mine if i <= n < i + longest), key=lambda n: end[n])
    return places[i][0], places[j][1], math.exp(start[i] + end[j]) / sums[0] / sums[1]
""",
        "the library's own": """
from minillm.inference.pipelines.answers import best_spans, span_scores

def answer(start, end, places, inside, longest):
    mine = torch.tensor(inside)
    allowed = mine.clone()
    allowed[0] = True
    scores = span_scores(torch.tensor(start), torch.tensor(end), allowed, longest)
    score, i, j = best_spans(scores, mine, 1)[0]
    return places[i][0], places[j][1], score
""",
    },
    "03-5-b": {
        "an I- without a beginning is no name": labels(begins="label.startswith('B-')"),
        "joins names of any tag": labels(joins="label.startswith('I-') and before != 'O'"),
        "B- goes on, too": labels(joins="label != 'O' and before[2:] == tag"),
        "an O does not end a name": labels(remember="before = label if label != 'O' else before"),
        "O is a name": labels(begins="True"),
        "cuts the tag at its last hyphen": labels(tag="label.split('-')[-1]"),
        "only the part before the next hyphen": labels(
            tag="label.split('-')[1] if '-' in label else ''",
            joins="label.startswith('I-') and before.split('-')[1:2] == [tag]",
        ),
        "the end of the first piece": labels(end="found[-1][2]"),
        "one name a token": labels(joins="False"),
        "pieces must touch": labels(
            joins="label.startswith('I-') and before[2:] == tag and found[-1][2] == start"
        ),
        "a second B- of the same tag goes on": labels(
            joins="label != 'O' and before[2:] == tag and (label[0] == 'I' or before == label)"
        ),
        "one name of each tag": labels()
        + "\n_names = names\n\ndef names(labels, places):\n"
        + "    return list({one[0]: one for one in _names(labels, places)}.values())",
        "tags in large letters": labels(
            tag="label[2:].upper()", joins=GOOD["joins"].replace("[2:]", "[2:].upper()")
        ),
        "stops at an empty text": labels().replace(
            "found, before = [], ", "labels[0]\n    found, before = [], "
        ),
        "forgets the tag": labels()
        + "\n_names = names\n\ndef names(labels, places):\n    return [one[1:] for one in _names(labels, places)]",
        "the library's own": """
from minillm.inference.pipelines.entities import Tagged, grouped

def names(labels, places):
    words = [Tagged(label, 1.0, [], *place) for label, place in zip(labels, places)]
    return [(g[0].label[2:], g[0].start, g[-1].end) for g in grouped(words) if g[0].label != "O"]
""",
    },
    "03-5-c": {
        "padding of zeros changes little": broken([9.0, 0.0, 0.0, 0.0], 2),
        "two real tokens that are equal": broken([5.0, 5.0, 20.0], 2),
        "no padding": broken([9.0, 0.0], 2),
        "logits beyond the limit": broken([50.0, 0.0, 90.0], 2),
        "the reason is another": broken([5.0, 0.0, 9.0], 2, "a"),
        "the order": broken([5.0, 0.0, 9.0], 2, "c"),
        "texts": broken(["5", "0", "9"], 2),
        "not a number": broken("[float('nan')] * 3", 2),
        "length is a float": broken([5.0, 0.0, 9.0], 2.0),
    },
    "03-5-d": {
        "in the order of the lengths": piped(
            empty="[]", store="found.append({'label': names[int(row.argmax())], 'score': row.max().item()})"
        ),
        "as they come": piped(key="i"),
        "the shortest first": piped(key="len(rows[i])"),
        "one by one": piped(size="1"),
        "all in one batch": piped(size="max(len(rows), 1)"),
        "as wide as the longest of all": piped(width="max(map(len, rows))"),
        "as wide as a model reads": piped(width="64"),
        "no mask": piped(mask="[1] * width"),
        "a mask from the padding id": piped(
            mask="[int(one != pad_id) for one in rows[i] + [pad_id] * (width - len(rows[i]))]"
        ),
        "the mask the other way round": piped(mask="[0] * len(rows[i]) + [1] * (width - len(rows[i]))"),
        "padding in front": piped(
            ids="[pad_id] * (width - len(rows[i])) + rows[i]",
            mask="[0] * (width - len(rows[i])) + [1] * len(rows[i])",
        ),
        "zeros for padding": piped(ids="rows[i] + [0] * (width - len(rows[i]))"),
        "gradients are kept": piped(quiet="torch.enable_grad()"),
        "a softmax over the batch": piped(scores="logits.softmax(0)"),
        "a sigmoid": piped(scores="logits.sigmoid()"),
        "logits for scores": piped(scores="logits"),
        "numbers for names": piped(
            store="found[place] = {'label': int(row.argmax()), 'score': row.max().item()}"
        ),
        "the commonest label": piped(store="found[place] = {'label': names[0], 'score': row.max().item()}"),
        "the last batch is left out": piped(result="found[: len(rows) // batch_size * batch_size]"),
        "fills the rows it was given": piped(
            ids="rows[i].extend([pad_id] * (width - len(rows[i]))) or rows[i]",
            mask="[1] * LENGTHS[i] + [0] * (width - LENGTHS[i])",
        ).replace("    order =", "    LENGTHS = list(map(len, rows))\n    order ="),
        "stops without texts": piped(key="-len(rows[i]) + 0 * len(rows[0])").replace(
            "    found", "    rows[0]\n    found", 1
        ),
        "the library's batches": piped()
        .replace("    order =", "    from minillm.inference.pipelines.base import batches\n\n    order =")
        .replace(
            "sorted(range(len(rows)), key=lambda i: -len(rows[i]))",
            "sum(batches([len(r) for r in rows], batch_size), [])",
        ),
    },
}
