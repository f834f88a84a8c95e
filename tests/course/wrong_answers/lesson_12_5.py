"""Plausible wrong answers to the exercises of lesson 12_5."""

DESCRIBE = """def describe(u, vectors, labels, scale):
    {before}
    scores = {scores}
    weights = {weights}
    weights = {normal}
    answer = []
    for place in range({places}):
        total = {{}}
        for weight, label in zip(weights, labels):
            {add}
        answer.append({best})
    return {result}
"""
OF_DESCRIBE = {
    "before": "pass",
    "scores": "scale * (vectors @ u)",
    "weights": "np.exp(scores - scores.max())",
    "normal": "weights / weights.sum()",
    "places": "len(labels[0])",
    "add": "total[label[place]] = total.get(label[place], 0.0) + float(weight)",
    "best": "max(total.items(), key=lambda item: item[1])",
    "result": "answer",
}

ONE_LIST = """def one_list(query, kind, vectors, kinds, k):
    {before}
    rows, names = np.array(vectors, float), np.array(kinds)
    asked = np.array(query, float) - {mine}
    {centre}

    def unit(x):
        length = np.linalg.norm(x)
        return {unit}

    cosines = [float({cosine}) for row in rows]
    best = sorted({places}, key={key})[:{k}]
    return {result}
"""
OF_ONE_LIST = {
    "before": "pass",
    "mine": "rows[names == kind].mean(0)",
    "centre": """for name in set(kinds):
        rows[names == name] -= rows[names == name].mean(0)""",
    "unit": "x / length if length > 1e-9 else x * 0",
    "cosine": "unit(asked) @ unit(row)",
    "places": "range(len(rows))",
    "key": "lambda i: (-cosines[i], i)",
    "k": "k",
    "result": "[(i, cosines[i]) for i in best]",
}

ALONE = """def one_list(query, kind, vectors, kinds, k):
    names = np.array(kinds)
    asked = query - vectors[names == kind].mean(0)
    cosines = []
    for row, name in zip(vectors, kinds):
        rest = row - vectors[names == name].mean(0)
        lengths = np.linalg.norm(rest) * np.linalg.norm(asked)
        cosines.append(float(rest @ asked / lengths) if kinds.count(name) > 1 else 0.0)
    best = sorted(range(len(cosines)), key=lambda i: (-cosines[i], i))[:k]
    return [(i, cosines[i]) for i in best]
"""

LOST = """def lost(truth, said, drawn):
    {before}
    counts = []
    for a in range({attributes}):
        row = [0, 0, 0, 0]
        for t, w, p in zip(truth, said, drawn):
            words, picture = {words}, {picture}
            row[{place}] += 1
        counts.append({counts})
    return {result}
"""
OF_LOST = {
    "before": "pass",
    "attributes": "len(truth[0])",
    "words": "w[a] == t[a]",
    "picture": "p[a] == t[a]",
    "place": "{(True, True): 0, (False, False): 1, (True, False): 2, (False, True): 3}[words, picture]",
    "counts": "row",
    "result": "counts",
}

HUB = """axes = np.eye({width})
n = {n}
pictures = [{picture} for i in range(1, n + 1)]
captions = [{caption} for i in range(1, n + 1)]
hub = {hub}
{after}
"""
OF_HUB = {
    "width": "9",
    "n": "4",
    "picture": "(axes[0] + axes[i]) / math.sqrt(2)",
    "caption": "0.3 * axes[0] + 0.6 * axes[i] + math.sqrt(0.55) * axes[i + 4]",
    "hub": "axes[0]",
    "after": "",
}


def describe(**changes):
    return DESCRIBE.format(**OF_DESCRIBE | changes)


def one_list(**changes):
    return ONE_LIST.format(**OF_ONE_LIST | changes)


def lost(**changes):
    return LOST.format(**OF_LOST | changes)


def hub(**changes):
    return HUB.format(**OF_HUB | changes)


LIBRARY = "from minillm.course.small.drawing import read_whole\n\n\n"

WRONG = {
    "12-5-a": {
        "the best sentence alone": describe(
            best="(lambda b: (labels[b][place], float(weights[b])))(int(weights.argmax()))"
        ),
        "the largest in place of the sum": describe(
            add="total[label[place]] = max(total.get(label[place], 0.0), float(weight))"
        ),
        "the mean in place of the sum": describe(
            add="total.setdefault(label[place], []).append(float(weight))",
            best="max(((v, sum(w) / len(w)) for v, w in total.items()), key=lambda item: item[1])",
        ),
        "no scale": describe(scores="vectors @ u"),
        "divided by the scale": describe(scores="(vectors @ u) / scale"),
        "overflows": describe(weights="np.exp(scores)"),
        "clips the scores": describe(weights="np.exp(np.clip(scores, -50, 50))"),
        "not normalised": describe(normal="weights"),
        "normalised by the largest": describe(normal="weights / weights.max()"),
        "shares of scores, no softmax": describe(weights="np.maximum(scores, 0) + 1e-9"),
        "base two": describe(weights="2.0 ** (scores - scores.max())"),
        "cosines in place of inner products": describe(
            scores="scale * (vectors @ u) / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(u) + 1e-12)"
        ),
        "distances": describe(scores="-scale * ((vectors - u) ** 2).sum(1)"),
        "the least probable": describe(best="min(total.items(), key=lambda item: item[1])"),
        "the first place only": describe(places="1"),
        "the last place is forgotten": describe(places="max(1, len(labels[0]) - 1)"),
        "always two places": describe(places="2"),
        "counts sentences": describe(
            add="total[label[place]] = total.get(label[place], 0.0) + 1 / len(labels)"
        ),
        "values without probabilities": describe(best="max(total, key=total.get)"),
        "probabilities first": describe(best="max((p, v) for v, p in total.items())"),
        "a probability of all places together": describe(
            best="(max(total, key=total.get), max(total.values()) / len(labels[0]))"
        ),
        "rounded": describe(result="[(v, round(p, 2)) for v, p in answer]"),
        "changes u": describe(before="u *= 1.0000001"),
        "changes the vectors": describe(before="vectors -= 1e-3"),
        "sorts the labels": describe(before="labels.sort()"),
        "the last sentence of each value": describe(add="total[label[place]] = float(weight)"),
        "what the library does": LIBRARY
        + "def describe(u, vectors, labels, scale):\n    read_whole([u])\n    return list(labels)",
        "nothing": "def describe(u, vectors, labels, scale):\n    return []",
    },
    "12-5-b": {
        "the gap stays": one_list(mine="0", centre="pass"),
        "one mean for all": one_list(mine="rows.mean(0)", centre="rows -= rows.mean(0)"),
        "the query is left as it is": one_list(mine="0"),
        "the query minus the mean of all": one_list(mine="rows.mean(0)"),
        "only the query": one_list(centre="pass"),
        "the query's mean from all": one_list(centre="rows -= rows[names == kind].mean(0)"),
        "only the other kinds": one_list(
            centre="""for name in set(kinds) - {kind}:
        rows[names == name] -= rows[names == name].mean(0)"""
        ),
        "only the kind of the query": one_list(centre="rows[names == kind] -= rows[names == kind].mean(0)"),
        "the means after the change": one_list(
            mine="0",
            centre="""for name in set(kinds):
        rows[names == name] -= rows[names == name].mean(0)
    asked = asked - rows[names == kind].mean(0)""",
        ),
        "medians": one_list(
            centre="""for name in set(kinds):
        rows[names == name] -= np.median(rows[names == name], 0)"""
        ),
        "means of unit vectors": one_list(
            centre="""rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    for name in set(kinds):
        rows[names == name] -= rows[names == name].mean(0)"""
        ),
        "inner products": one_list(unit="x"),
        "only the vectors are made unit": one_list(cosine="asked @ unit(row)"),
        "only the query is made unit": one_list(cosine="unit(asked) @ row"),
        "distances": one_list(cosine="-np.linalg.norm(unit(asked) - unit(row))"),
        "divides by nothing": one_list(unit="x / length"),
        "a vector alone in its kind gets one": one_list(
            cosine="unit(asked) @ unit(row) if np.linalg.norm(row) > 1e-9 else 1.0"
        ),
        "a vector alone in its kind is left out": one_list(
            places="[i for i in range(len(rows)) if np.linalg.norm(rows[i]) > 1e-9]"
        ),
        "zero only for a vector alone in its kind": ALONE,
        "worst first": one_list(key="lambda i: (cosines[i], i)"),
        "the higher place first": one_list(key="lambda i: (-cosines[i], -i)"),
        "in order of places": one_list(result="[(i, cosines[i]) for i in sorted(best)]"),
        "one too many": one_list(k="k + 1"),
        "always all": one_list(k="len(rows)"),
        "always the best": one_list(k="1"),
        "places alone": one_list(result="best"),
        "cosine first": one_list(result="[(cosines[i], i) for i in best]"),
        "places from one": one_list(result="[(i + 1, cosines[i]) for i in best]"),
        "absolute values": one_list(key="lambda i: (-abs(cosines[i]), i)"),
        "only the other kind is found": one_list(places="[i for i in range(len(rows)) if names[i] != kind]"),
        "only its own kind is found": one_list(places="[i for i in range(len(rows)) if names[i] == kind]"),
        "changes the query": one_list(before="query -= query.mean()"),
        "changes the vectors": one_list(before="vectors /= 2"),
        "sorts the kinds": one_list(before="kinds.sort()"),
    },
    "12-5-c": {
        "luck is kept": lost(place="0 if picture else 1 if not words else 2"),
        "words and drawing change places": lost(
            place="{(True, True): 0, (True, False): 1, (False, False): 2, (False, True): 3}[words, picture]"
        ),
        "wrong words count as lost in words": lost(place="0 if words and picture else 1 if not words else 2"),
        "compares the picture with the words": lost(picture="p[a] == w[a]"),
        "compares the words with the picture": lost(words="w[a] == p[a]"),
        "whole rows": lost(words="w == t"),
        "whole pictures": lost(picture="p == t"),
        "shares": lost(counts="[one / len(truth) for one in row]"),
        "the first attribute for all": lost(words="w[0] == t[0]"),
        "the first attribute only": lost(attributes="1"),
        "four attributes always": lost(attributes="4"),
        "one total": lost(result="[[sum(column) for column in zip(*counts)]]"),
        "kept and luck together": lost(counts="[row[0] + row[3], row[1], row[2], row[3]]"),
        "three counts": lost(counts="row[:3]"),
        "a dict": lost(counts="dict(kept=row[0], words=row[1], drawing=row[2], luck=row[3])"),
        "sorted counts": lost(counts="sorted(row)"),
        "by count, not by attribute": lost(result="[list(column) for column in zip(*counts)]"),
        "skips the last row": lost(before="truth = truth[:-1]"),
        "each kind of row once": lost(
            before="truth, said, drawn = zip(*dict.fromkeys((tuple(t), tuple(w), tuple(p)) "
            "for t, w, p in zip(truth, said, drawn)))"
        ),
        "empties the list": lost(result="[counts, truth.clear()][0]"),
        "turns a row": lost(before="truth[0].reverse(), truth[0].sort()"),
    },
    "12-5-d": {
        "no hub": hub(hub="axes[1]"),
        "the mean of the captions, not of length 1": hub(hub="sum(captions) / n"),
        "a hub that is too near to one caption": hub(hub="(axes[0] + 0.9 * axes[1]) / math.hypot(1, 0.9)"),
        "captions as good as the hub": hub(caption="pictures[i - 1]"),
        "captions that are too far": hub(
            caption="0.2 * axes[0] + 0.6 * axes[i] + math.sqrt(0.6) * axes[i + 4]"
        ),
        "captions of length two": hub(
            caption="2 * (0.3 * axes[0] + 0.6 * axes[i] + math.sqrt(0.55) * axes[i + 4])"
        ),
        "one caption for all": hub(
            caption="0.62 * axes[0] + 0.3 * axes[1] + math.sqrt(1 - 0.3844 - 0.09) * axes[5]"
        ),
        "the caption of the next picture": hub(
            caption="0.3 * axes[0] + 0.6 * axes[i % n + 1] + math.sqrt(0.55) * axes[i + 4]"
        ),
        "pictures that are nearly one": hub(
            picture="0.9 * axes[0] + math.sqrt(0.19) * axes[i]",
            caption="0.4 * axes[0] + 0.7 * axes[i] + math.sqrt(0.35) * axes[i + 4]",
        ),
        "three pictures": hub(n="3"),
        "nine pictures": hub(
            n="9", width="19", caption="0.3 * axes[0] + 0.6 * axes[i] + math.sqrt(0.55) * axes[i + 9]"
        ),
        "too wide": hub(width="21"),
        "no captions": hub(after="captions = []"),
        "one caption is missing": hub(after="captions = captions[:-1]"),
        "a hub of another width": hub(hub="np.eye(8)[0]"),
        "a text": hub(hub='"axes[0]"'),
        "not numbers": hub(hub="axes[0] * np.nan"),
        "rounded": hub(after="captions = [np.round(one, 2) for one in captions]"),
        "a hub that the cure does not mend": hub(
            picture="math.sqrt(0.55) * axes[0] + math.sqrt(0.45) * axes[i]",
            caption="0.6 * axes[0] + 0.35 * axes[i] + math.sqrt(0.5175) * axes[i + 4]",
            hub="0.96 * axes[0] + 0.28 * axes[1]",
        ),
        "captions with nothing of their own": hub(
            caption="0.87 * axes[0] + math.sqrt(1 - 0.87**2) * axes[i + 4]"
        ),
    },
}
