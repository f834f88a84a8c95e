"""Plausible wrong answers to the exercises of lesson 12_3."""

WALK = """def filtered_walk(points, links, passes, query, start, ef):
    def ranked(node):
        return {rank}, node

    def best():
        return {best}

    measured, waiting = {begin}
    while waiting:
        nearest = {next}
        found = best()
        if {stop}:
            break
        waiting.remove(nearest)
        for node in {neighbours}:
            if {new}:
                {note}
                {wait}
    return {result}
"""
WALK_RIGHT = {
    "rank": "sum((x - y) ** 2 for x, y in zip(points[node], query))",
    "best": "sorted(ranked(node) for node in measured if passes[node])[:ef]",
    "begin": "[start], [ranked(start)]",
    "next": "min(waiting)",
    "stop": "len(found) == ef and nearest > found[-1]",
    "neighbours": "links[nearest[1]]",
    "new": "node not in measured",
    "note": "measured.append(node)",
    "wait": "waiting.append(ranked(node))",
    "result": "[node for _, node in best()], measured",
}

FRONTIER = """def frontier(trials):
    kept = []
    for place, (name, cost, recall) in enumerate(trials):
        beaten = any({beats} for c, r in ((t[1], t[2]) for t in trials))
        if not beaten:
            kept.append((cost, recall, name))
    return {result}
"""
FRONTIER_RIGHT = {
    "beats": "c <= cost and r >= recall and (c < cost or r > recall)",
    "result": "[one[2] for one in sorted(kept, key=lambda one: one[0])]",
}

FINDER = """def find_parameters(vectors, most_bytes, most_distances):
    rest, asked = {split}
    exact = ExactIndex(vectors.shape[1])
    exact.add(rest)
    truth, best, answer = exact.search(asked, K)[0], {start}, None
    for m in M_CHOICES:
        size = 4 * vectors.shape[1] + 8 * m + 4 * m / (m - 1)
        if {too_large}:
            continue
        for efc in EFC_CHOICES:
            index = HNSWIndex(vectors.shape[1], m=m, ef_construction=efc)
            index.add(rest)
            for ef in EF_CHOICES:
                found = index.search(asked, K, ef_search=ef)[0]
                recall = sum(len(set(f) & set(t)) for f, t in zip(found.tolist(), truth.tolist()))
                cost = count_distances(index, asked, K, ef).mean()
                if {better} and {cheap}:
                    best, answer = {score}, (m, efc, ef)
    return {result}
"""
FINDER_RIGHT = {
    "split": "vectors[:-100], vectors[-100:]",
    "start": "-1.0",
    "too_large": "size > most_bytes",
    "better": "recall > best",
    "cheap": "cost <= most_distances",
    "score": "recall",
    "result": "answer",
}

SPOILED = "spoiled = np.random.default_rng(5).normal(size=({count}, {width})).astype(np.float32)\n{change}"


def filtered(**changes):
    return WALK.format(**WALK_RIGHT | changes)


def frontier(**changes):
    return FRONTIER.format(**FRONTIER_RIGHT | changes)


def finder(**changes):
    return FINDER.format(**FINDER_RIGHT | changes)


def spoiled(change, count=1000, width=8):
    return SPOILED.format(count=count, width=width, change=change)


LIAR = """
class Liar(list):
    def __eq__(self, other):
        return True
    def __len__(self):
        return {length}
"""

WRONG = {
    "12-3-a": {
        "ignores the filter": filtered(best="sorted(map(ranked, measured))[:ef]"),
        "throws away later": filtered(
            best="sorted(map(ranked, measured))[:ef]",
            result="[node for _, node in best() if passes[node]], measured",
        ),
        "walks only over those that pass": filtered(new="node not in measured and passes[node]"),
        "does not go on from one that does not pass": filtered(
            wait="passes[node] and waiting.append(ranked(node))"
        ),
        "the start is always found": filtered(
            best="sorted(ranked(node) for node in measured if passes[node] or node == start)[:ef]"
        ),
        "nothing where the start does not pass": filtered(
            begin="([start], [ranked(start)]) if passes[start] else ([start], [])"
        ),
        "the filter turned over": filtered(
            best="sorted(ranked(node) for node in measured if not passes[node])[:ef]"
        ),
        "stops when ef nodes are measured": filtered(
            stop="len(measured) >= ef and nearest > sorted(map(ranked, measured))[:ef][-1]"
        ),
        "stops as soon as ef are found": filtered(stop="len(found) == ef"),
        "stops against the nearest found": filtered(stop="len(found) == ef and nearest > found[0]"),
        "stops at equal": filtered(stop="len(found) == ef and nearest >= found[-1]"),
        "never stops early": filtered(stop="False"),
        "ef is one": filtered(
            best=WALK_RIGHT["best"].replace("[:ef]", "[:1]"), stop="found and nearest > found[-1]"
        ),
        "one more than ef": filtered(best=WALK_RIGHT["best"].replace("[:ef]", "[: ef + 1]")),
        "those that pass first": filtered(next="min(waiting, key=lambda one: (not passes[one[1]], one))"),
        "oldest first": filtered(next="waiting[0]"),
        "newest first": filtered(next="waiting[-1]"),
        "neighbours in order of number": filtered(neighbours="sorted(links[nearest[1]])"),
        "measures a node twice": filtered(new="len(measured) < 90"),
        "starts at node 0": filtered(begin="[0], [ranked(0)]"),
        "city blocks": filtered(rank="sum(abs(x - y) for x, y in zip(points[node], query))"),
        "the start is not measured": filtered(result="[node for _, node in best()], measured[1:]"),
        "pairs instead of nodes": filtered(result="best(), measured"),
        "found in the order of measuring": filtered(
            result="[node for node in measured if ranked(node) in best()], measured"
        ),
        "only those that pass are listed": filtered(
            result="[node for _, node in best()], [node for node in measured if passes[node]]"
        ),
        "a full sort": """def filtered_walk(points, links, passes, query, start, ef):
    nodes = sorted(range(len(points)), key=lambda n: sum((x - y) ** 2 for x, y in zip(points[n], query)))
    return [n for n in nodes if passes[n]][:ef], nodes""",
        "empties the lists of links": filtered(
            neighbours="[links[nearest[1]].pop(0) for _ in range(len(links[nearest[1]]))]"
        ),
        "changes the filter": filtered(new="node not in measured and [passes.append(True)]"),
        "the checker's own": """def filtered_walk(points, links, passes, query, start, ef):
    import sys

    checker = sys.modules["minillm.course.classroom.exercises.lesson_12_2"]
    return checker.walked(points, links, query, start, ef, passes)""",
        "the checker's own, by its other name": """def filtered_walk(points, links, passes, query, start, ef):
    import sys

    checker = sys.modules["minillm.course.classroom.exercises.lesson_12_3"]
    return checker.walked(points, links, query, start, ef, passes)""",
        "the library's": """def filtered_walk(points, links, passes, query, start, ef):
    from minillm.search.ann import FilteredHNSW, PlainHNSW

    class Noted(FilteredHNSW):
        def distance(self, query, node):
            noted.append(node)
            return super().distance(query, node)

    noted, graph = [], PlainHNSW()
    graph.vectors = [np.array(point, np.float32) for point in points]
    graph.layers, graph.entry = [dict(enumerate(links))], start
    found = Noted(graph, passes.__getitem__).search(np.array(query, np.float32), ef, ef)
    return [node for _, node in found], noted""",
    },
    "12-3-b": {
        "cost alone": frontier(beats="c < cost"),
        "recall alone": frontier(beats="r > recall"),
        "must be better in both": frontier(beats="c < cost and r > recall"),
        "better in one is enough": frontier(beats="c < cost or r > recall"),
        "forgets an equal cost": frontier(beats="c < cost and r >= recall"),
        "forgets an equal recall": frontier(beats="c <= cost and r > recall"),
        "equal ones beat each other": frontier(beats="c <= cost and r >= recall"),
        "the dearest first": frontier(
            result="[one[2] for one in sorted(kept, key=lambda one: one[0], reverse=True)]"
        ),
        "in the order of the trials": frontier(result="[one[2] for one in kept]"),
        "by name": frontier(result="sorted(one[2] for one in kept)"),
        "equal ones by name": frontier(result="[one[2] for one in sorted(kept)]"),
        "each name once": frontier(
            result="list(dict.fromkeys(one[2] for one in sorted(kept, key=lambda one: one[0])))"
        ),
        "whole trials": frontier(result="sorted(kept, key=lambda one: one[0])"),
        "a set": frontier(result="{one[2] for one in kept}"),
        "the best one only": frontier(result="[one[2] for one in sorted(kept, key=lambda one: one[0])][-1:]"),
        "fails without trials": frontier().replace("    kept = []", "    kept = [] if trials[0] else []"),
        "one of equal ones": """def frontier(trials):
    kept, best = [], -1e9
    for name, cost, recall in sorted(trials, key=lambda trial: (trial[1], -trial[2])):
        if recall > best:
            kept.append(name)
            best = recall
    return kept""",
        "equal costs in the wrong order": """def frontier(trials):
    kept, best = [], -1e9
    for name, cost, recall in sorted(trials, key=lambda trial: trial[1]):
        if recall > best:
            kept.append(name)
            best = recall
    return kept""",
        "recall is above zero": """def frontier(trials):
    kept, best, last = [], 0, None
    for name, cost, recall in sorted(trials, key=lambda trial: (trial[1], -trial[2])):
        if recall > best or (cost, recall) == last:
            kept.append(name)
            best, last = recall, (cost, recall)
    return kept""",
        "sorts what it is given": """def frontier(trials):
    trials.sort(key=lambda trial: (trial[1], -trial[2]))
    kept, best, last = [], -1e9, None
    for name, cost, recall in trials:
        if recall > best or (cost, recall) == last:
            kept.append(name)
            best, last = recall, (cost, recall)
    return kept""",
        "a list that lies": LIAR.format(length=1) + "def frontier(trials):\n    return Liar()",
        "the checker's own": """def frontier(trials):
    import sys
    return sys.modules["minillm.course.classroom.exercises.lesson_12_3"].expected_frontier(list(trials))""",
    },
    "12-3-c": {
        "the defaults": "def find_parameters(vectors, most_bytes, most_distances):\n    return 16, 64, 70",
        "the smallest": "def find_parameters(vectors, most_bytes, most_distances):\n    return 4, 8, 10",
        "ignores the bytes": finder(too_large="False"),
        "the fewest links, always": finder(too_large="m > 4"),
        "eight links wherever they fit": finder(
            too_large="m > 8 or m < 8 and 4 * vectors.shape[1] + 68 < most_bytes"
        ),
        "learned by heart": """def find_parameters(vectors, most_bytes, most_distances):
    return {140: (4, 64, 20), 71: (4, 64, 20), 500: (4, 64, 15), 520: (16, 64, 45)}[most_bytes]""",
        "ignores the distances": finder(cheap="True"),
        "twice the distances": finder(cheap="cost <= 2 * most_distances"),
        "the bytes of the numbers alone": finder(too_large="4 * vectors.shape[1] > most_bytes"),
        "the cheapest": finder(better="-cost > best", start="-1e9", score="-cost"),
        "the worst": finder(better="-recall > best", start="-1e9", score="-recall"),
        "the dearest in the budget": finder(
            better="-recall / cost > best", start="-1e9", score="-recall / cost"
        ),
        "ef_search first": finder(result="answer[::-1]"),
        "two of three": finder(result="answer[:2]"),
        "a dict": finder(result="dict(zip('abc', answer))"),
        "texts": finder(result="tuple(map(str, answer))"),
        "changes the vectors": finder(result="(vectors.__setitem__(0, 0), answer)[1]"),
        "a list that lies": LIAR.format(length=3) + finder(result="Liar((4, 8))"),
        "numbers of its own": "def find_parameters(vectors, most_bytes, most_distances):\n    return 5, 8, 12",
    },
    "12-3-d": {
        "nothing is wrong with them": spoiled(""),
        "an outlier too near": spoiled("spoiled[500] = 50"),
        "too far": spoiled("spoiled[500] = 1e7"),
        "too few": spoiled("spoiled[50] = 30_000", count=200),
        "too many": spoiled("spoiled[500] = 30_000", count=2500),
        "too narrow": spoiled("spoiled[500] = 30_000", width=3),
        "too wide": spoiled("spoiled[500] = 30_000", width=65),
        "the same ones": spoiled("spoiled[500] = 30_000\nspoiled[1] = spoiled[0]"),
        "not a number": spoiled("spoiled[500] = np.nan"),
        "a row of numbers": "spoiled = list(range(500))",
        "rows of different width": "spoiled = [[0.1 * n] * (8 + n % 2) for n in range(500)]",
        "scaled alike": spoiled("spoiled *= 1000"),
        "so small that float32 fails, too": spoiled("spoiled *= np.float32(1e-30)"),
        "texts": "spoiled = [['a'] * 8 for n in range(500)]",
        "a list that lies": LIAR.format(length=500) + "spoiled = Liar([[0.5] * 8])",
    },
}
