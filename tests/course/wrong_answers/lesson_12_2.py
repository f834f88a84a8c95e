"""Plausible wrong answers to the exercises of lesson 12_2."""

LLOYD = """def lloyd(points, centres, rounds):
    def nearest(point):
        return {nearest}

    for _ in range({rounds}):
        lists = [nearest(point) for point in points]
        moved = []
        for number, centre in enumerate(centres):
            own = [point for point, one in zip(points, lists) if one == number]
            moved.append({moved})
        {after}
    return {result}
"""
GAP = "sum((x - y) ** 2 for x, y in zip(point, centres[c]))"
LLOYD_RIGHT = {
    "nearest": f"min(range(len(centres)), key=lambda c: {GAP})",
    "rounds": "rounds",
    "moved": "[sum(column) / len(own) for column in zip(*own)] if own else list(centre)",
    "after": "centres = moved",
    "result": "[list(centre) for centre in centres], [nearest(point) for point in points]",
}

WALK = """def walk(points, links, query, start, ef):
    def ranked(node):
        return {rank}, {tie}

    measured, waiting = {begin}
    while waiting:
        nearest = {next}
        found = sorted(map(ranked, measured))[:ef]
        if {stop}:
            break
        waiting.remove(nearest)
        for node in {neighbours}:
            if {new}:
                measured.append(node)
                waiting.append(ranked(node))
    return {result}
"""
WALK_RIGHT = {
    "rank": "sum((x - y) ** 2 for x, y in zip(points[node], query))",
    "tie": "node",
    "begin": "[start], [ranked(start)]",
    "next": "min(waiting)",
    "stop": "len(found) == ef and nearest > found[-1]",
    "neighbours": "links[nearest[1]]",
    "new": "node not in measured",
    "result": "[node for _, node in sorted(map(ranked, measured))[:ef]], measured",
}
PROBE = """def probe(vectors, lists, centres, query, k, n_probe):
    def gap(place):
        return {gap}

    nearest = {nearest}
    rows = {rows}
    found = {found}
    return {result}
"""
PROBE_RIGHT = {
    "gap": "sum((x - y) ** 2 for x, y in zip(place, query))",
    "nearest": "sorted(range(len(centres)), key=lambda c: (gap(centres[c]), c))[:n_probe]",
    "rows": "[row for c in nearest for row in lists[c]]",
    "found": "sorted(rows, key=lambda row: (gap(vectors[row]), row))[:k]",
    "result": "found, len(centres) + len(rows)",
}
POINTS = "[(0, 50), (44, 52), (44, 48), (30, 50), (38, 60), (52, 50)]"
LINKS = "[[1, 2, 3], [0], [0], [0, 4], [3, 5], [4]]"


def lloyd(**changes):
    return LLOYD.format(**LLOYD_RIGHT | changes)


def walk(**changes):
    return WALK.format(**WALK_RIGHT | changes)


def probe(**changes):
    return PROBE.format(**PROBE_RIGHT | changes)


def trap(points=POINTS, links=LINKS, query="(50, 50)"):
    return f"trap = ({points}, {links}, {query})"


WRONG = {
    "12-2-a": {
        "the highest of equal ones": lloyd(nearest=f"min(range(len(centres)), key=lambda c: ({GAP}, -c))"),
        "the farthest centre": lloyd(nearest=f"max(range(len(centres)), key=lambda c: {GAP})"),
        "city blocks": lloyd(
            nearest="min(range(len(centres)), key=lambda c: sum(abs(x - y) for x, y in zip(point, centres[c])))"
        ),
        "the first number only": lloyd(
            nearest="min(range(len(centres)), key=lambda c: (point[0] - centres[c][0]) ** 2)"
        ),
        "one round more": lloyd(rounds="rounds + 1"),
        "one round at least": lloyd(rounds="max(rounds, 1)"),
        "one round only": lloyd(rounds="min(rounds, 1)"),
        "ignores rounds": lloyd(rounds="6"),
        "an empty centre goes to 0": lloyd(
            moved="[sum(column) / len(own) for column in zip(*own)] if own else [0] * len(centre)"
        ),
        "an empty centre is dropped": lloyd(
            after="centres = [one for one in moved if one is not None]",
            moved="[sum(column) / len(own) for column in zip(*own)] if own else None",
        ),
        "an empty centre takes a point": lloyd(
            moved="[sum(column) / len(own) for column in zip(*own)] if own else list(points[0])"
        ),
        "the median": lloyd(
            moved="[sorted(column)[len(own) // 2] for column in zip(*own)] if own else list(centre)"
        ),
        "whole numbers": lloyd(
            moved="[sum(column) // len(own) for column in zip(*own)] if own else list(centre)"
        ),
        "the old centre counts as a point": lloyd(
            moved="[(sum(x) + c) / (len(own) + 1) for c, x in zip(centre, zip(*own))] if own else list(centre)"
        ),
        "two decimals": lloyd(
            moved="[round(sum(column) / len(own), 2) for column in zip(*own)] if own else list(centre)"
        ),
        "the lists before the last move": lloyd(
            rounds="rounds",
            result="[list(centre) for centre in centres], lists if rounds else [nearest(p) for p in points]",
        ),
        "centres move one by one within a round": """def lloyd(points, centres, rounds):
    centres = [list(one) for one in centres]

    def nearest(point):
        return min(range(len(centres)), key=lambda c: sum((x - y) ** 2 for x, y in zip(point, centres[c])))

    for _ in range(rounds):
        for number in range(len(centres)):
            own = [point for point in points if nearest(point) == number]
            if own:
                centres[number] = [sum(column) / len(own) for column in zip(*own)]
    return centres, [nearest(point) for point in points]""",
        "moves the centres that it was given": lloyd(after="centres[:] = moved"),
        "sorts the points": lloyd(rounds="(points.sort(), rounds)[1]"),
        "the members instead of numbers": lloyd(
            result="centres, [[p for p in points if nearest(p) == c] for c in range(len(centres))]"
        ),
        "lists from 1": lloyd(
            result="[list(centre) for centre in centres], [nearest(point) + 1 for point in points]"
        ),
        "centres only": lloyd(result="[list(centre) for centre in centres]"),
        "the library's": """def lloyd(points, centres, rounds):
    x = np.array(points, np.float32)
    moved = move_centres(x, np.array(centres, np.float32), rounds)
    return moved, assign(x, moved)[0]""",
        "scipy's k-means": """def lloyd(points, centres, rounds):
    import warnings

    import numpy as np
    from scipy.cluster.vq import kmeans2

    x, places = np.array(points, float), np.array(centres, float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a centre without points stays
        if rounds:
            places, _ = kmeans2(x, places, iter=rounds, minit="matrix", missing="warn")
    return places, ((x[:, None] - places[None]) ** 2).sum(axis=2).argmin(axis=1)""",
        "the checker's own": """def lloyd(points, centres, rounds):
    import sys

    found = sys.modules["minillm.course.classroom.exercises.lesson_12_2"].exact_lloyd(points, centres, rounds)
    return [[float(one) for one in row] for row in found[0]], found[1]""",
        "the library's, imported": """def lloyd(points, centres, rounds):
    from minillm.search.ann.kmeans import assign_plain, means

    x, c = np.array(points, np.float32), np.array(centres, np.float32)
    for _ in range(rounds):
        c = means(x, assign_plain(x, c)[0], c)
    return c, assign_plain(x, c)[0]""",
    },
    "12-2-b": {
        "ignores ef": walk(result="[n for _, n in sorted(map(ranked, measured))[:1]], measured")
        .replace("ef and", "1 and")
        .replace("[:ef]", "[:1]"),
        "one more than ef": walk().replace("[:ef]", "[:ef + 1]").replace("== ef", "== ef + 1"),
        "never stops early": walk(stop="False"),
        "stops at equal": walk(stop="len(found) == ef and nearest >= found[-1]"),
        "stops against the nearest found": walk(stop="len(found) == ef and nearest > found[0]"),
        "oldest first": walk(next="waiting[0]"),
        "newest first": walk(next="waiting[-1]"),
        "the farthest first": walk(next="max(waiting)"),
        "the higher number is nearer": walk(
            tie="-node",
            neighbours="links[abs(nearest[1])]",
            result="[abs(n) for _, n in sorted(map(ranked, measured))[:ef]], measured",
        ),
        "measures a node twice": walk(new="len(measured) < 60", begin="[start], [ranked(start)]"),
        "measures the start again": walk(new="node not in measured[1:]"),
        "neighbours in order of number": walk(neighbours="sorted(links[nearest[1]])"),
        "neighbours backwards": walk(neighbours="reversed(links[nearest[1]])"),
        "city blocks": walk(rank="sum(abs(x - y) for x, y in zip(points[node], query))"),
        "inner product": walk(rank="-sum(x * y for x, y in zip(points[node], query))"),
        "the distance to the start": walk(
            rank="sum((x - y) ** 2 for x, y in zip(points[node], points[start]))"
        ),
        "starts at node 0": walk(begin="[0], [ranked(0)]"),
        "the start is not measured": walk(
            result="[node for _, node in sorted(map(ranked, measured))[:ef]], measured[1:]"
        ),
        "found in the order of measuring": walk(
            result="[n for n in measured if ranked(n) in sorted(map(ranked, measured))[:ef]], measured"
        ),
        "pairs instead of nodes": walk(result="sorted(map(ranked, measured))[:ef], measured"),
        "measured in order of number": walk(
            result="[n for _, n in sorted(map(ranked, measured))[:ef]], sorted(measured)"
        ),
        "greedy only": """def walk(points, links, query, start, ef):
    def ranked(node):
        return sum((x - y) ** 2 for x, y in zip(points[node], query)), node

    measured, here = [start], start
    while True:
        measured += [node for node in links[here] if node not in measured]
        best = min([here, *links[here]], key=ranked)
        if best == here:
            return sorted(measured, key=ranked)[:ef], measured
        here = best""",
        "looks at all nodes": """def walk(points, links, query, start, ef):
    nodes = sorted(range(len(points)), key=lambda n: sum((x - y) ** 2 for x, y in zip(points[n], query)))
    return nodes[:ef], list(range(len(points)))""",
        "empties the lists of links": walk(
            neighbours="[links[nearest[1]].pop(0) for _ in range(len(links[nearest[1]]))]"
        ),
        "the checker's own": """def walk(points, links, query, start, ef):
    import sys

    checker = sys.modules["minillm.course.classroom.exercises.lesson_12_2"]
    return checker.walked(points, links, query, start, ef)""",
        "the library's": """def walk(points, links, query, start, ef):
    class Noted(PlainNSW):
        def distance(self, query, node):
            noted.append(node)
            return super().distance(query, node)

    noted = []
    graph = Noted()
    graph.vectors = [np.array(point, np.float32) for point in points]
    graph.layers = [dict(enumerate(links))]
    query = np.array(query, np.float32)
    found = graph.search_layer(query, [(graph.distance(query, start), start)], ef, 0)
    return [node for _, node in found], noted""",
    },
    "12-2-c": {
        "no trap": trap(
            points="[(n, 0) for n in range(6)]",
            links="[[1], [0, 2], [1, 3], [2, 4], [3, 5], [4]]",
            query="(5, 0)",
        ),
        "ef = 2 finds it": trap(points="[(0, 50), (44, 52), (2, 2), (30, 50), (38, 60), (52, 50)]"),
        "ef = 3 does not": trap(points="[(0, 50), (44, 52), (44, 48), (30, 50), (20, 20), (52, 50)]"),
        "links one way": trap(links="[[1, 2, 3], [0], [0], [4], [3, 5], [4]]"),
        "a node apart": trap(
            points="[(0, 50), (44, 52), (44, 48), (30, 50), (38, 60), (52, 50), (90, 90), (91, 91)]",
            links="[[1, 2, 3], [0], [0], [0, 4], [3, 5], [4], [7], [6]]",
        ),
        "five nodes": trap(
            points="[(0, 50), (44, 52), (44, 48), (38, 60), (52, 50)]",
            links="[[1, 2, 3], [0], [0], [0, 4], [3]]",
        ),
        "two are nearest": trap(
            points="[(0, 50), (44, 52), (44, 48), (30, 50), (38, 60), (52, 50), (48, 50)]",
            links="[[1, 2, 3], [0], [0], [0, 4], [3, 5], [4, 6], [5]]",
        ),
        "two equal points": trap(points="[(0, 50), (44, 52), (44, 52), (30, 50), (38, 60), (52, 50)]"),
        "a fraction": trap(points="[(0, 50), (44.5, 52), (44, 48), (30, 50), (38, 60), (52, 50)]"),
        "outside the square": trap(points="[(-1, 50), (44, 52), (44, 48), (30, 50), (38, 60), (52, 50)]"),
        "linked with itself": trap(links="[[1, 2, 3], [0, 1], [0], [0, 4], [3, 5], [4]]"),
        "a link twice": trap(links="[[1, 2, 3], [0, 0], [0], [0, 4], [3, 5], [4]]"),
        "five links": trap(
            points="[(0, 50), (44, 52), (44, 48), (30, 50), (38, 60), (52, 50), (1, 1), (1, 2)]",
            links="[[1, 2, 3, 6, 7], [0], [0], [0, 4], [3, 5], [4], [0], [0]]",
        ),
        "a node that is not there": trap(links="[[1, 2, 3], [0], [0], [0, 4], [3, 6], [4]]"),
        "a list is missing": trap(links="[[1, 2, 3], [0], [0], [0, 4], [3, 5]]"),
        "no query": f"trap = ({POINTS}, {LINKS})",
        "the query in the crowd": trap(query="(0, 50)"),
    },
    "12-2-d": {
        "forgets the centres": "prediction = [500, 200, 2750, 9.97, 9]",
        "the root of N": "prediction = [600, 100, 2754, 9.97, 9]",
        "n_probe forgotten in the second": "prediction = [600, 50, 2754, 9.97, 9]",
        "the mean list": "prediction = [600, 200, 2004, 9.97, 9]",
        "centres forgotten in the third": "prediction = [600, 200, 2750, 9.97, 9]",
        "links count once": "prediction = [600, 200, 2754, 4.985, 9]",
        "the first nodes have 5, too": "prediction = [600, 200, 2754, 10, 9]",
        "stops at 7": "prediction = [600, 200, 2754, 9.97, 8]",
        "all ten": "prediction = [600, 200, 2754, 9.97, 10]",
        "neighbours counted again": "prediction = [600, 200, 2754, 9.97, 16]",
        "four numbers": "prediction = [600, 200, 2754, 9.97]",
        "text": 'prediction = ["600", "200", "2754", "9.97", "9"]',
    },
    "12-2-e": {
        "empty lists take no place": probe(
            nearest="[c for c in sorted(range(len(centres)), key=lambda c: (gap(centres[c]), c)) if lists[c]][:n_probe]"
        ),
        "the k nearest of each list": probe(
            found="[r for c in nearest for r in sorted(lists[c], key=lambda row: (gap(vectors[row]), row))[:k]]"
        ),
        "equal rows in the order of their list": probe(
            found="sorted(rows, key=lambda row: gap(vectors[row]))[:k]"
        ),
        "forgets the centres": probe(result="found, len(rows)"),
        "goes on until there are k": probe(
            nearest="""sorted(range(len(centres)), key=lambda c: (gap(centres[c]), c))
    while n_probe < len(centres) and sum(len(lists[c]) for c in nearest[:n_probe]) < k:
        n_probe += 1
    nearest = nearest[:n_probe]"""
        ),
        "the nearest list only": probe(
            nearest="[min(range(len(centres)), key=lambda c: (gap(centres[c]), c))]"
        ),
        "places in the lists": probe(
            found="[rows.index(r) for r in sorted(rows, key=lambda row: (gap(vectors[row]), row))[:k]]"
        ),
        "looks at everything": probe(rows="list(range(len(vectors)))"),
        "all lists": probe(rows="[row for one in lists for row in one]"),
        "the first lists": probe(nearest="range(len(centres))[:n_probe]"),
        "the farthest lists": probe(
            nearest="sorted(range(len(centres)), key=lambda c: (-gap(centres[c]), c))[:n_probe]"
        ),
        "the farthest rows": probe(found="sorted(rows, key=lambda row: (-gap(vectors[row]), row))[:k]"),
        "the higher centre of equal ones": probe(
            nearest="sorted(range(len(centres)), key=lambda c: (gap(centres[c]), -c))[:n_probe]"
        ),
        "the higher row of equal ones": probe(
            found="sorted(rows, key=lambda row: (gap(vectors[row]), -row))[:k]"
        ),
        "where the nearest centre would have put it": probe(
            rows="""[
        row
        for row, one in enumerate(vectors)
        if min(range(len(centres)), key=lambda c: (sum((x - y) ** 2 for x, y in zip(one, centres[c])), c)) in nearest
    ]"""
        ),
        "in the order of the lists": probe(found="rows[:k]"),
        "filled up to k": probe(result="found + [-1] * (k - len(found)), len(centres) + len(rows)"),
        "nothing if there are fewer than k": probe(
            result="found if len(found) == k else [], len(centres) + len(rows)"
        ),
        "one more than k": probe(
            result="sorted(rows, key=lambda r: (gap(vectors[r]), r))[:k + 1], len(centres) + len(rows)"
        ),
        "the cost of exact search": probe(result="found, len(vectors)"),
        "only the centres that were chosen": probe(result="found, len(nearest) + len(rows)"),
        "counts what was found": probe(result="found, len(centres) + len(found)"),
        "the lists that were asked for": probe(result="found, n_probe + len(rows)"),
        "city blocks": probe(gap="sum(abs(x - y) for x, y in zip(place, query))"),
        "inner product": probe(gap="-sum(x * y for x, y in zip(place, query))"),
        "the first number only": probe(gap="(place[0] - query[0]) ** 2"),
        "distances beside the rows": probe(
            result="[(row, gap(vectors[row])) for row in found], len(centres) + len(rows)"
        ),
        "the vectors": probe(result="[vectors[row] for row in found], len(centres) + len(rows)"),
        "only the rows": probe(result="found"),
        "sorts the lists": probe(rows="[row for c in nearest for row in (lists[c].sort(), lists[c])[1]]"),
        "empties the lists": probe(rows="[lists[c].pop() for c in nearest for _ in range(len(lists[c]))]"),
        "the checker's own": """def probe(vectors, lists, centres, query, k, n_probe):
    import sys

    checker = sys.modules["minillm.course.classroom.exercises.lesson_12_2"]
    return checker.probed(vectors, lists, centres, query, k, n_probe)""",
        "the library's": """def probe(vectors, lists, centres, query, k, n_probe):
    from minillm.search.ann.ivf import search_plain

    own = np.full(len(vectors), -1)
    for c, rows in enumerate(lists):
        own[rows] = c
    x, c, q = (np.array(one, np.float32) for one in (vectors, centres, query))
    near = np.argsort(((c - q) ** 2).sum(1), kind="stable")[:n_probe]
    return search_plain(q, x, c, own, k, n_probe), len(centres) + sum(len(lists[c]) for c in near)""",
        "the library's index": """def probe(vectors, lists, centres, query, k, n_probe):
    index = ExactIndex(len(query))
    rows = [row for one in lists for row in one]
    index.add(np.array([vectors[row] for row in rows], np.float32), rows)
    return index.search(np.array(query, np.float32), k)[0], len(centres) + len(rows)""",
    },
}
