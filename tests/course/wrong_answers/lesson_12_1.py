"""Plausible wrong answers to the exercises of lesson 12_1."""

SEARCH = """def search(vectors, ids, query, k, metric, allowed):
    found = []
    for vector, own in zip(vectors, ids):
        if {excluded}:
            continue
        product = sum(a * b for a, b in zip(query, vector))
        if metric == "l2":
            distance = {l2}
        elif metric == "ip":
            distance = {ip}
        else:
            length = math.sqrt(sum(a * a for a in query) * sum(b * b for b in vector))
            distance = {cosine}
        found.append((distance, own))
    best = {best}
    return {result}
"""
RIGHT = {
    "excluded": "allowed is not None and own not in allowed",
    "l2": "sum((a - b) ** 2 for a, b in zip(query, vector))",
    "ip": "1 - product",
    "cosine": "1 - product / length if length else 1",
    "best": "(sorted(found)[:k] + [(math.inf, -1)] * k)[:k]",
    "result": "[own for _, own in best], [distance for distance, _ in best]",
}

STREAM = """def search_stream(query, blocks, k):
    best, start = [], 0
    for block in blocks:
        distances = {distances}
        best += [(float(distance), {number}) for row, distance in enumerate(distances)]
        best = {keep}
        start += {step}
    return {result}
"""
STREAM_RIGHT = {
    "distances": "((block - np.array(query)) ** 2).sum(axis=1)",
    "number": "start + row",
    "keep": "sorted(best)[:k]",
    "step": "len(block)",
    "result": "[(number, distance) for distance, number in best]",
}


def search(**changes):
    return SEARCH.format(**RIGHT | changes)


def stream(**changes):
    return STREAM.format(**STREAM_RIGHT | changes)


WRONG = {
    "12-1-a": {
        "the root of the squared distance": search(l2="math.dist(query, vector)"),
        "the sum of differences": search(l2="sum(abs(a - b) for a, b in zip(query, vector))"),
        "the product as a distance": search(ip="-product"),
        "the product itself": search(ip="product"),
        "the cosine itself": search(cosine="product / length if length else 0"),
        "a zero vector is at distance 0": search(cosine="1 - product / length if length else 0"),
        "divides by zero": search(cosine="1 - product / length"),
        "a zero vector is infinitely far": search(cosine="1 - product / length if length else math.inf"),
        "only the query's length": search(
            cosine="1 - product / math.sqrt(sum(a * a for a in query)) if length else 1"
        ),
        "absolute cosine": search(cosine="1 - abs(product) / length if length else 1"),
        "an empty set allows all": search(excluded="allowed and own not in allowed"),
        "ignores the filter": search(excluded="False"),
        "the filter excludes": search(excluded="allowed is not None and own in allowed"),
        "id 0 passes no filter": search(excluded="allowed is not None and (own not in allowed or not own)"),
        "filters after the k best": search(
            excluded="False",
            best="([one for one in sorted(found)[:k] if allowed is None or one[1] in allowed]"
            " + [(math.inf, -1)] * k)[:k]",
        ),
        "no padding": search(best="sorted(found)[:k]"),
        "pads with None": search(
            best="(sorted(found)[:k] + [(math.inf, None)] * k)[:k]",
        ),
        "pads with distance -1": search(best="(sorted(found)[:k] + [(-1, -1)] * k)[:k]"),
        "pads with 0": search(best="(sorted(found)[:k] + [(math.inf, 0)] * k)[:k]"),
        "ties by place": search(
            best="(sorted(found, key=lambda one: one[0])[:k] + [(math.inf, -1)] * k)[:k]"
        ),
        "ties: higher id first": search(
            best="(sorted(found, key=lambda one: (one[0], -one[1]))[:k] + [(math.inf, -1)] * k)[:k]"
        ),
        "farthest first": search(best="(sorted(found, reverse=True)[:k] + [(math.inf, -1)] * k)[:k]"),
        "rows instead of ids": search(
            result="[ids.index(o) if o >= 0 else -1 for _, o in best], [d for d, _ in best]"
        ),
        "pairs": search(result="[(own, distance) for distance, own in best]"),
        "distances first": search(result="[distance for distance, _ in best], [own for _, own in best]"),
        "always l2": search(ip="sum((a - b) ** 2 for a, b in zip(query, vector))"),
        "one metric for all": search().replace('metric == "l2"', "True"),
        "rounds": search(cosine="round(1 - product / length, 3) if length else 1"),
        "float32": search(cosine="float(np.float32(1 - product / length)) if length else 1"),
        "sorts the ids": search().replace("    found = []", "    ids.sort()\n    found = []"),
        "empties allowed": search().replace("    return", "    allowed and allowed.clear()\n    return"),
        "the library's index": """def search(vectors, ids, query, k, metric, allowed):
    from minillm.search import ExactIndex

    index = ExactIndex(len(query), metric)
    index.add(vectors, ids)
    found, distances = index.search([query], k, filter=allowed)
    return found[0], distances[0]""",
        "the checker's own": """def search(vectors, ids, query, k, metric, allowed):
    import importlib

    far = importlib.import_module("minillm.course.classroom.exercises.lesson_12_1").exact_distance
    some = [(float(far(query, v, metric)), i) for v, i in zip(vectors, ids) if allowed is None or i in allowed]
    some = sorted(some)[:k] + [(math.inf, -1)] * max(0, k - len(some))
    return [i for _, i in some], [d for d, _ in some]""",
        "the library's formula": search().replace(
            "    best =",
            "    from minillm.search.exact import distances_plain\n\n"
            "    found and distances_plain(np.array(query), np.array(vectors), metric)\n    best =",
        ),
    },
    "12-1-b": {
        "keeps the blocks": """def search_stream(query, blocks, k):
    rows = [row for block in blocks for row in block]
    pairs = sorted((float(((row - np.array(query)) ** 2).sum()), n) for n, row in enumerate(rows))
    return [(number, distance) for distance, number in pairs[:k]]""",
        "joins the blocks at the end": """def search_stream(query, blocks, k):
    rows = np.concatenate([np.zeros((0, len(query))), *blocks])
    distances = ((rows - np.array(query)) ** 2).sum(axis=1)
    order = np.argsort(distances, kind="stable")[:k]
    return [(n, distances[n]) for n in order]""",
        "copies all blocks": """def search_stream(query, blocks, k):
    rows = np.concatenate([np.zeros((0, len(query))), *[block.copy() for block in blocks]])
    distances = ((rows - query) ** 2).sum(axis=1)
    return [(int(n), distances[n]) for n in np.argsort(distances, kind="stable")[:k]]""",
        "keeps every distance": """def search_stream(query, blocks, k):
    pairs = []
    for block in blocks:
        pairs += [(float(d), len(pairs) + n) for n, d in enumerate(((block - np.array(query)) ** 2).sum(axis=1))]
    return [(n, d) for d, n in sorted(pairs)[:k]]""",
        "counts every block from 0": stream(number="row"),
        "numbers from 1": stream(number="start + row + 1"),
        "counts blocks": stream(step="1"),
        "the block's first size": stream(step="8"),
        "the last block alone": stream(keep="sorted(best[-len(distances):])[:k]"),
        "the root": stream(distances="np.sqrt(((block - np.array(query)) ** 2).sum(axis=1))"),
        "ties by the order found, reversed": stream(
            keep="sorted(best, key=lambda one: (one[0], -one[1]))[:k]"
        ),
        "farthest": stream(keep="sorted(best, reverse=True)[:k]"),
        "keeps one too few": stream(keep="sorted(best)[: k - 1]"),
        "keeps one too many": stream(keep="sorted(best)[: k + 1]"),
        "keeps all": stream(keep="sorted(best)"),
        "distances first": stream(result="best"),
        "numbers alone": stream(result="[number for _, number in best]"),
        "pads": stream(result="([(n, d) for d, n in best] + [(-1, math.inf)] * k)[:k]"),
        "skips small blocks": stream(
            keep="sorted(best)[:k] if len(block) >= k else best[: len(best) - len(block)]"
        ),
        "the best of each block": stream(
            keep="sorted(best[: len(best) - len(distances)] + sorted(best[len(best) - len(distances) :])[:1])[:k]"
        ),
        "needs k rows": """def search_stream(query, blocks, k):
    best, start = [], 0
    for block in blocks:
        distances = ((block - np.array(query)) ** 2).sum(axis=1)
        near = np.argpartition(distances, k - 1)[:k]
        best = sorted(best + [(float(distances[n]), start + int(n)) for n in near])[:k]
        start += len(block)
    return [(number, distance) for distance, number in best]""",
        "the inner product": stream(distances="-(block @ np.array(query))"),
        "keeps all where Python does not count": """def search_stream(query, blocks, k):
    import torch

    every = torch.cat([torch.zeros(0, len(query)), *(torch.tensor(block) for block in blocks)])
    far = (every - torch.tensor(query)).square().sum(1)
    best, order = far.sort(stable=True)
    return list(zip(order[:k].tolist(), best[:k].tolist()))""",
        "the plain search of the library": """def search_stream(query, blocks, k):
    from minillm.search.exact_plain import nearest_plain

    rows = np.array([row.copy() for block in blocks for row in block]).reshape(-1, len(query))
    numbers, distances = nearest_plain(np.array([query], float), rows, k)
    return [(n, d) for n, d in zip(numbers[0], distances[0]) if n >= 0]""",
    },
    "12-1-c": {
        "no trouble": "wrong = ([0, 0], [1, 0], [2, 0])",
        "the same point twice": "wrong = ([900.0, 400.0], [900.0, 400.0], [900.0, 400.03])",
        "less than float32 sees": "wrong = ([900.0, 400.0], [900.00001, 400.0], [899.986, 400.03])",
        "far is only a little farther": "wrong = ([900.0, 400.0], [900.03, 400.01], [899.986, 400.03])",
        "near and far changed": "wrong = ([900.0, 400.0], [899.986, 400.03], [900.01, 400.01])",
        "equal results": "wrong = ([900.0, 400.0], [900.01, 400.01], [900.02, 400.03])",
        "too large": "wrong = ([90000.0, 40000.0], [90001.0, 40001.0], [89998.0, 40003.0])",
        "too long vectors": "wrong = ([900.0, 400.0, 0.0], [900.01, 400.01, 0.0], [899.986, 400.03, 0.0])",
        "infinity": "wrong = ([900.0, 400.0], [900.01, 400.01], [math.inf, 400.03])",
        "two vectors": "wrong = ([900.01, 400.01], [899.986, 400.03])",
        "centred": "wrong = ([0.0, 0.0], [0.01, 0.01], [-0.014, 0.03])",
    },
    "12-1-d": {
        "float64": "costs = [4_096_000_000, 25_600_000_000, 1_638_400, 489]",
        "one query": "costs = [2_048_000_000, 512_000_000, 819_200, 489]",
        "k distances": "costs = [2_048_000_000, 25_600_000_000, 2000, 489]",
        "the last block is forgotten": "costs = [2_048_000_000, 25_600_000_000, 819_200, 488]",
        "the whole table": "costs = [2_048_000_000, 25_600_000_000, 400_000_000, 489]",
        "two operations each": "costs = [2_048_000_000, 51_200_000_000, 819_200, 489]",
        "a fraction of a block": "costs = [2_048_000_000, 25_600_000_000, 819_200, 488.28125]",
        "gigabytes": "costs = [2.048, 25.6, 0.0008192, 489]",
        "lying numbers": """class Lying(int):
    __eq__ = lambda self, other: True
    __hash__ = int.__hash__


costs = [Lying(1), Lying(1), Lying(1), Lying(1)]""",
        "numbers, not bytes": "costs = [512_000_000, 25_600_000_000, 204_800, 489]",
    },
}
