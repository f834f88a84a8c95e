"""Plausible wrong answers to the exercises of lesson 12_2b."""

CHOOSE = """def choose(points, query, candidates, m, keep_pruned):
    kept, pruned = [], []
    for node in {order}:
        if len(kept) == {most}:
            break
        own = squared(points[node], query)
        closest = {closest}
        {keep}
    return {result}
"""
CHOOSE_RIGHT = {
    "order": "sorted(candidates, key=lambda node: (squared(points[node], query), node))",
    "most": "m",
    "closest": "all(own < squared(points[node], points[other]) for other in kept)",
    "keep": "(kept if closest else pruned).append(node)",
    "result": "(kept + pruned)[:m] if keep_pruned else kept",
}
BUILD = """def build(points, levels, m, ef):
    layers, entry = [], {first}
    for node, level in enumerate(levels):
        top, near = len(layers) - 1, [entry]
        for layer in range({above}):
            near = search_layer(points, layers[layer], points[node], near, {narrow})
        for layer in range({own}):
            links, most = layers[layer], {most}
            {search}
            links[node] = {neighbours}
            for other in {back}:
                row = [*links[other], node]
                {sort}
                links[other] = {shrunk}
        for _ in range(top + 1, level + 1):
            layers.append({new})
            entry = {entry}
    return {result}
"""
BUILD_RIGHT = {
    "first": "-1",
    "above": "top, level, -1",
    "narrow": "1",
    "own": "min(top, level), -1, -1",
    "most": "2 * m if layer == 0 else m",
    "search": "near = search_layer(points, links, points[node], near, ef)",
    "neighbours": "near[:m]",
    "back": "links[node]",
    "sort": "row.sort(key=lambda one, other=other: (squared(points[one], points[other]), one))",
    "shrunk": "row[:most]",
    "new": "{node: []}",
    "entry": "node",
    "result": "layers, entry",
}
CORNERS = """[
    (94, 93), (96, 0), (4, 90), (2, 0), (0, 97), (1, 7), (90, 96), (98, 6),
    (95, 4), (5, 8), (0, 94), (7, 91), (6, 96), (95, 8), (7, 5), (90, 91),
    (92, 7), (0, 0), (4, 2), (90, 92), (94, 95), (3, 97), (93, 90), (94, 5),
]"""


def choose(**changes):
    return CHOOSE.format(**CHOOSE_RIGHT | changes)


def build(**changes):
    return BUILD.format(**BUILD_RIGHT | changes)


WRONG = {
    "12-2b-a": {
        "the nearest": choose(closest="True"),
        "equal is nearer": choose(
            closest="all(own <= squared(points[node], points[other]) for other in kept)"
        ),
        "farther than one is enough": choose(
            closest="not kept or any(own < squared(points[node], points[other]) for other in kept)"
        ),
        "the last one kept only": choose(closest="not kept or own < squared(points[node], points[kept[-1]])"),
        "the first one kept only": choose(closest="not kept or own < squared(points[node], points[kept[0]])"),
        "compares with those turned down, too": choose(
            closest="all(own < squared(points[node], points[other]) for other in kept + pruned)"
        ),
        "the other way round": choose(
            closest="all(own > squared(points[node], points[other]) for other in kept)"
        ),
        "distances of the kept ones to the query": choose(
            closest="all(own < squared(query, points[other]) for other in kept)"
        ),
        "the last three kept only": choose(
            closest="all(own < squared(points[node], points[other]) for other in kept[-3:])"
        ),
        "looks at the eight nearest only": choose(
            order="sorted(candidates, key=lambda node: (squared(points[node], query), node))[: max(8, m)]"
        ),
        "in the order that they came": choose(order="candidates"),
        "the farthest first": choose(
            order="sorted(candidates, key=lambda node: (-squared(points[node], query), node))"
        ),
        "the higher number first": choose(
            order="sorted(candidates, key=lambda node: (squared(points[node], query), -node))"
        ),
        "in the order of numbers": choose(order="sorted(candidates)"),
        "all points": choose(
            order="sorted(range(len(points)), key=lambda node: (squared(points[node], query), node))"
        ),
        "always fills up": choose(result="(kept + pruned)[:m]"),
        "never fills up": choose(result="kept"),
        "the pruned first": choose(result="(pruned + kept)[:m] if keep_pruned else kept"),
        "fills up with the farthest": choose(result="(kept + pruned[::-1])[:m] if keep_pruned else kept"),
        "fills up beyond m": choose(result="kept + pruned if keep_pruned else kept"),
        "sorted by number": choose(result="sorted((kept + pruned)[:m] if keep_pruned else kept)"),
        "sorted by distance at the end": choose(
            result="sorted((kept + pruned)[:m] if keep_pruned else kept, key=lambda n: squared(points[n], query))"
        ),
        "one more": choose(most="m + 1"),
        "one less": choose(most="m - 1"),
        "ignores m": choose(most="len(points) + 1", result="kept + pruned if keep_pruned else kept"),
        "counts the pruned": choose().replace("len(kept) == m", "len(kept + pruned) == m"),
        "points instead of numbers": choose(
            result="[points[node] for node in ((kept + pruned)[:m] if keep_pruned else kept)]"
        ),
        "empties the candidates": choose(
            order="sorted([candidates.pop() for _ in range(len(candidates))], "
            "key=lambda node: (squared(points[node], query), node))"
        ),
        "city blocks": choose()
        .replace("squared(", "blocks(")
        .replace(
            "    kept, pruned",
            "    def blocks(a, b):\n        return sum(abs(x - y) for x, y in zip(a, b))\n\n    kept, pruned",
        ),
        "the library's": """def choose(points, query, candidates, m, keep_pruned):
    graph = PlainHNSW(keep_pruned=keep_pruned)
    graph.vectors = [np.array(point, np.float32) for point in points]
    query = np.array(query, np.float32)
    return graph.select(query, [(graph.distance(query, n), n) for n in candidates], m, 0)""",
    },
    "12-2b-b": {
        "m on every layer": build(most="m"),
        "2 m on every layer": build(most="2 * m"),
        "never shrinks": build(shrunk="row"),
        "the farthest are kept": build(shrunk="row[::-1][:most]"),
        "the oldest links are kept": build(sort="pass"),
        "the newest links are kept": build(sort="row.reverse()"),
        "shrinks by the distance to the new node": build(
            sort="row.sort(key=lambda one: (squared(points[one], points[node]), one))"
        ),
        "links one way": build(back="[]"),
        "a dropped link is dropped on both sides": build(
            shrunk="row[:most]\n                for one in row[most:]:\n"
            "                    links[one] = [n for n in links[one] if n != other]"
        ),
        "all that is found": build(neighbours="list(near)"),
        "one neighbour": build(neighbours="near[:1]"),
        "2 m neighbours": build(neighbours="near[: 2 * m]"),
        "2 m neighbours on layer 0": build(neighbours="near[:most]"),
        "the farthest of those found": build(neighbours="near[::-1][:m]"),
        "ef = 1 on its own layers": build(search="near = search_layer(points, links, points[node], near, 1)"),
        "ef on the layers above": build(narrow="ef"),
        "starts each layer at the entry": build(
            search="near = search_layer(points, links, points[node], [entry if entry in links else min(links)], ef)"
        ),
        "goes on from the nearest only": build(
            search="near = search_layer(points, links, points[node], near[:1], ef)"
        ),
        "goes on from its neighbours only": build(
            search="near = search_layer(points, links, points[node], near[:m], ef)"
        ),
        "looks at all nodes": build(
            search="near = sorted(links, key=lambda n: (squared(points[n], points[node]), n))[:ef]"
        ),
        "searches around the entry's place": build(
            search="near = search_layer(points, links, points[entry], near, ef)"
        ),
        "skips the layers above": build(above="0"),
        "only the layer of its level": build(own="min(top, level), min(top, level) - 1, -1"),
        "not on layer 0": build(own="min(top, level), 0, -1"),
        "the entry stays": build(entry="node if entry < 0 else entry"),
        "every node becomes the entry": build(result="layers, len(levels) - 1"),
        "entry 0": build(result="layers, 0"),
        "layers upside down": build(result="layers[::-1], entry"),
        "layers only": build(result="layers"),
        "lists instead of dicts": build(result="[list(layer.values()) for layer in layers], entry"),
        "ignores the levels": build().replace("enumerate(levels)", "enumerate([0] * len(levels))"),
        "one layer too many": build().replace("enumerate(levels)", "enumerate(n + 1 for n in levels)"),
        "sorts the points": build().replace("    layers, entry", "    points.sort()\n    layers, entry"),
        "the heuristic": """def build(points, levels, m, ef):
    layers, entry = [], -1

    def choose(center, nodes, most):
        kept, rest = [], []
        for n in sorted(nodes, key=lambda n: (squared(points[n], points[center]), n)):
            near = all(squared(points[n], points[center]) < squared(points[n], points[o]) for o in kept)
            (kept if near else rest).append(n)
        return (kept + rest)[:most]

    for node, level in enumerate(levels):
        top, near = len(layers) - 1, [entry]
        for layer in range(top, -1, -1):
            links = layers[layer]
            near = search_layer(points, links, points[node], near, 1 if layer > level else ef)
            if layer <= level:
                links[node] = choose(node, near, m)
                for other in links[node]:
                    links[other] = choose(other, [*links[other], node], m if layer else 2 * m)
        for _ in range(top + 1, level + 1):
            layers.append({node: []})
            entry = node
    return layers, entry""",
        "the library's": """def build(points, levels, m, ef):
    class Given(SimpleHNSW):
        def draw_level(self):
            return levels[len(self.vectors)]

    graph = Given(m=m, ef_construction=ef)
    for point in points:
        graph.add(point)
    return graph.layers, graph.entry""",
    },
    "12-2b-c": {
        "one group": "points = [(n % 5, n // 5) for n in range(20)]",
        "a line": "points = [(5 * n, 50) for n in range(20)]",
        "groups one after the other": f"points = sorted({CORNERS})",
        "too few": f"points = {CORNERS}[:11]",
        "too many": f"points = {CORNERS} + [(40 + n, 50) for n in range(17)]",
        "twice the same": f"points = {CORNERS} + [(0, 0)]",
        "outside the square": f"points = {CORNERS} + [(101, 0)]",
        "fractions": f"points = [(x + 0.5, y) for x, y in {CORNERS}]",
        "three numbers": f"points = [(x, y, 0) for x, y in {CORNERS}]",
        "nothing": "points = []",
        "points far apart": "points = [(x, y) for x in range(0, 100, 20) for y in range(0, 100, 20)]",
    },
    "12-2b-d": {
        "one layer too low": "prediction = [512, 64, 1 / 15, 2, 132.267]",
        "m = 16 in the first": "prediction = [16, 64, 1 / 15, 2, 132.267]",
        "m on layer 0": "prediction = [64, 48, 1 / 15, 2, 132.267]",
        "2 m on every layer": "prediction = [64, 96, 1 / 15, 2, 132.267]",
        "layer 1 only": "prediction = [64, 64, 1 / 16, 2, 132.267]",
        "layer 0 counts, too": "prediction = [64, 64, 16 / 15, 2, 132.267]",
        "keeps all": "prediction = [64, 64, 1 / 15, 4, 132.267]",
        "keeps the nearest only": "prediction = [64, 64, 1 / 15, 1, 132.267]",
        "equal is nearer": "prediction = [64, 64, 1 / 15, 3, 132.267]",
        "layer 0 only": "prediction = [64, 64, 1 / 15, 2, 128]",
        "links, not bytes": "prediction = [64, 64, 1 / 15, 2, 33.067]",
        "every node on layer 1": "prediction = [64, 64, 1 / 15, 2, 192]",
        "four numbers": "prediction = [64, 64, 1 / 15, 2]",
    },
}
