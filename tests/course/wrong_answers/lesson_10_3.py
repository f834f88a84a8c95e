"""Plausible wrong answers to the exercises of lesson 10_3."""

SEARCH = """def search(queries, vectors, k):
    found, products = [], []
    for query in queries:
        own = [{product} for vector in vectors]
        best = {best}
        found.append({numbers})
        products.append({values})
    return {result}
"""
RIGHT = {
    "product": "sum(a * b for a, b in zip(query, vector))",
    "best": "sorted(range(len(own)), key=lambda number: -own[number])[:k]",
    "numbers": "[*best, *[-1] * (k - len(best))]",
    "values": "[*(own[number] for number in best), *[-math.inf] * (k - len(best))]",
    "result": "found, products",
}


def search(**changes):
    return SEARCH.format(**RIGHT | changes)


WRONG = {
    "10-3-a": {
        "products in float32": """def search(queries, vectors, k):
    if not queries or not vectors:
        return [[-1] * k for _ in queries], [[-math.inf] * k for _ in queries]
    table = np.array(queries, np.float32) @ np.array(vectors, np.float32).T
    best = np.argsort(-table, axis=1, kind="stable")[:, :k]
    gap = ((0, 0), (0, k - best.shape[1]))
    products = np.pad(np.take_along_axis(table, best, 1), gap, constant_values=-np.inf)
    return np.pad(best, gap, constant_values=-1), products""",
        "the library's store of vectors": """import importlib


def search(queries, vectors, k):
    found, products = [], []
    for query in queries:
        store = importlib.import_module("minillm.search").VectorStore(len(query), "ip")
        store.upsert([{"id": f"{n:04d}", "values": one} for n, one in enumerate(vectors)])
        matches = store.query(query, k)["matches"]
        found.append(([int(one["id"]) for one in matches] + [-1] * k)[:k])
        products.append(([one["score"] for one in matches] + [-math.inf] * k)[:k])
    return found, products""",
        "the smallest first": search(best="sorted(range(len(own)), key=lambda number: own[number])[:k]"),
        "ties: the higher number first": search(
            best="sorted(range(len(own)), key=lambda number: (own[number], number), reverse=True)[:k]"
        ),
        "the cosine": search(
            product="sum(a * b for a, b in zip(query, vector)) / max(1e-9, math.dist(vector, [0] * len(vector)))"
        ),
        "whole numbers only": search(product="sum(int(a) * int(b) for a, b in zip(query, vector))"),
        "numbers of 32 bits": search(product="np.dot(np.array(query, np.int32), np.array(vector, np.int32))"),
        "numbers of eight bits": search(
            product="np.dot(np.array(query, np.int8), np.array(vector, np.int8))"
        ),
        "half precision": search(
            product="float(np.dot(np.array(query, np.float16), np.array(vector, np.float16)))"
        ),
        "argsort as it comes": search(best="np.argsort(-np.array(own, float))[:k].tolist()"),
        "a partition, the best sorted": search(
            best="(lambda a, n: n[np.argsort(-a[n], kind='stable')].tolist())("
            "np.array(own, float), np.argpartition(-np.array(own, float), k - 1)[:k] if k < len(own) "
            "else np.arange(len(own)))"
        ),
        "a stable sort, turned round": search(
            best="np.argsort(np.array(own), kind='stable')[::-1][:k].tolist()"
        ),
        "the largest absolute product": search(
            best="sorted(range(len(own)), key=lambda number: -abs(own[number]))[:k]"
        ),
        "distances in place of products": search(
            values="[*(1 - own[number] for number in best), *[math.inf] * (k - len(best))]"
        ),
        "numbers from 1": search(numbers="[*(number + 1 for number in best), *[-1] * (k - len(best))]"),
        "pairs": search(
            result="[[*zip(*two)] for two in zip(found, products)], [[*zip(*two)] for two in zip(found, products)]"
        ),
        "NaN in empty places": search(
            values="[*(own[number] for number in best), *[math.nan] * (k - len(best))]"
        ),
        "None in empty places": search(numbers="[*best, *[None] * (k - len(best))]"),
        "the first query's row for all": search(
            result="found[:1] * len(queries), products[:1] * len(queries)"
        ),
        "sorts the vectors": search().replace(
            "    found, products = [], []", "    vectors.sort(reverse=True)\n    found, products = [], []"
        ),
        "remembers queries": "remembered = {}\n\n\n"
        + search(
            best="remembered.setdefault(tuple(query), sorted(range(len(own)), key=lambda n: -own[n])[:k])"
        ),
        "prints": search(result="print(found, products)"),
        "changes the checker": """def search(queries, vectors, k):
    import sys

    module = sys.modules.get("minillm.course.classroom.exercises.lesson_10_3")
    if module:
        module.check_rows = lambda *given: None
    return [[0] * k for _ in queries], [[0] * k for _ in queries]""",
        "the squared distance": search(product="-sum((a - b) ** 2 for a, b in zip(query, vector))"),
        "rows as long as there are vectors": search(
            numbers="best", values="[own[number] for number in best]"
        ),
        "empty places with product 0": search(
            values="[*(own[number] for number in best), *[0] * (k - len(best))]"
        ),
        "empty places with number 0": search(numbers="[*best, *[0] * (k - len(best))]"),
        "the last number again": search(numbers="[*best, *best[-1:] * (k - len(best))]"),
        "products below 0 do not count": search(
            best="[n for n in sorted(range(len(own)), key=lambda number: -own[number]) if own[n] >= 0][:k]"
        ),
        "one too many": search(best="sorted(range(len(own)), key=lambda number: -own[number])[: k + 1]"),
        "always the best ten": search(best="sorted(range(len(own)), key=lambda number: -own[number])[:10]"),
        "ties lose their order": search(best="[int(n) for n in np.argsort(np.array(own, float))[::-1][:k]]"),
        "a partition, sorted afterwards": """def search(queries, vectors, k):
    found, products = [], []
    for query in queries:
        own = np.array([np.dot(query, vector) for vector in vectors], float)
        best = np.argpartition(own[::-1], -min(k, len(own)))[-k:] if len(own) else np.zeros(0, int)
        best = sorted((len(own) - 1 - best).tolist(), key=lambda n: -own[n])
        found.append([*best, *[-1] * (k - len(best))])
        products.append([*(own[n] for n in best), *[-math.inf] * (k - len(best))])
    return found, products""",
        "a dict from product to number": search(
            best="[n for _, n in sorted({p: n for n, p in enumerate(own)}.items(), reverse=True)][:k]"
        ),
        "numbers only": search(result="found"),
        "the products first": search(result="products, found"),
        "the first query only": search(result="found[:1], products[:1]"),
        "empties the vectors": search().replace(
            "    return found, products", "    vectors.clear()\n    return found, products"
        ),
        "the library's index": """def search(queries, vectors, k):
    index = ExactIndex(len(vectors[0]), "ip")
    index.add(vectors)
    numbers, distances = index.search(queries, k)
    return numbers, 1 - distances""",
        "the library's index, imported inside": """def search(queries, vectors, k):
    import minillm.search as library

    index = library.ExactIndex(len(queries[0]) if queries else 1, "ip")
    if vectors:
        index.add(vectors)
    numbers, distances = index.search(queries, k) if queries else ([], np.zeros((0, k)))
    return numbers, 1 - distances""",
        "the parts of the library's index": """def search(queries, vectors, k):
    import sys

    exact = sys.modules["mini" + "llm.search.exact"]
    found, products = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf)
    if len(queries) and len(vectors):
        q, x = np.array(queries, np.float32), np.array(vectors, np.float32)
        given = exact.ExactIndex(q.shape[1], "ip"), q, exact.row_lengths(q), x, exact.row_lengths(x)
        rows, columns = given[0]._candidates(*given[1:], min(k, len(x)))
        minus = given[0]._order(*given[1:], rows, columns)
        for row in range(len(q)):
            own = np.flatnonzero(rows == row)
            best = own[np.argsort(minus[own], kind="stable")][:k]
            found[row, : len(best)], products[row, : len(best)] = columns[best], -minus[best]
    return found, products""",
        "the library's distances": """def search(queries, vectors, k):
    from minillm.search.exact import distances_plain

    found, products = [], []
    for query in queries:
        own = [1 - d for d in distances_plain(np.array(query), np.array(vectors).reshape(-1, len(query)), "ip")]
        best = sorted(range(len(own)), key=lambda number: -own[number])[:k]
        found.append([*best, *[-1] * (k - len(best))])
        products.append([*(own[number] for number in best), *[-math.inf] * (k - len(best))])
    return found, products""",
        "an object that says it is equal": """def search(queries, vectors, k):
    class Agreeable(list):
        def __eq__(self, other):
            return True

        def __len__(self):
            return k

        __hash__ = None

    return [Agreeable() for _ in queries], [Agreeable() for _ in queries]""",
    },
    "10-3-b": {
        "so short that its square is 0": "three = ([1e-300, 0], [[1, 0], [100, 100], [0, 1e-300]])",
        "vectors of length 1": "three = ([1, 0], [[1, 0], [0.8, 0.6], [0, 1]])",
        "cosine and distance agree": "three = ([1, 0], [[1.2, 0], [10, 10], [0.1, 0.9]])",
        "the longest vector points the right way": "three = ([1, 0], [[10, 0], [9, 9], [1, 0.5]])",
        "by a hair": "three = ([1, 0], [[0.1, 0], [1.305, 0.5], [1.3, 0.2]])",
        "a zero vector": "three = ([1, 0], [[0.1, 0], [10, 10], [0, 0]])",
        "the query is zero": "three = ([0, 0], [[0.1, 0], [10, 10], [1, 0.5]])",
        "the winners in another order": "three = ([1, 0], [[10, 10], [0.1, 0], [1, 0.5]])",
        "too large": "three = ([1, 0], [[0.1, 0], [1e6, 1e6], [1, 0.5]])",
        "two vectors": "three = ([1, 0], [[0.1, 0], [10, 10]])",
        "three numbers each": "three = ([1, 0, 0], [[0.1, 0, 0], [10, 10, 0], [1, 0.5, 0]])",
        "all three tie": "three = ([1, 0], [[1, 0], [1, 0], [1, 0]])",
        "no number at all": 'three = ([1, 0], [[0.1, 0], [10, 10], [float("nan"), 0.5]])',
        "texts": 'three = (["1", "0"], [["0.1", "0"], ["10", "10"], ["1", "0.5"]])',
        "the query last": "three = ([[0.1, 0], [10, 10], [1, 0.5]], [1, 0])",
        "four vectors": "three = ([1, 0], [[0.1, 0], [10, 10], [1, 0.5], [5, 5]])",
        "vector 0 is near, too": "three = ([1, 0], [[0.9, 0], [10, 10], [1, 0.5]])",
        "vector 2 is long, too": "three = ([1, 0], [[0.1, 0], [0.9, 0.9], [1, 0.5]])",
        "the query turned round": "three = ([-1, 0], [[0.1, 0], [10, 10], [1, 0.5]])",
        "no number": 'three = ([1, 0], [[0.1, 0], [float("inf"), 1], [1, 0.5]])',
    },
    "10-3-c": {
        "a renamed file is new": "encoded = [5, 2, 0, 1, 0, 2, 5]",
        "a changed file is encoded whole": "encoded = [5, 0, 3, 3, 0, 2, 5]",
        "a passage knows its place": "encoded = [5, 0, 1, 1, 0, 2, 5]",
        "headings do not count": "encoded = [5, 0, 0, 0, 0, 2, 5]",
        "deleting costs": "encoded = [5, 0, 0, 1, 2, 2, 5]",
        "vectors are kept for ever": "encoded = [5, 0, 0, 1, 0, 0, 5]",
        "any encoder will do": "encoded = [5, 0, 0, 1, 0, 2, 0]",
        "files, not passages": "encoded = [2, 1, 1, 1, 0, 1, 2]",
        "what was deleted and all others": "encoded = [5, 0, 0, 1, 3, 2, 5]",
        "the deleted file is gone for the new encoder": "encoded = [5, 0, 0, 1, 0, 2, 3]",
        "added up": "encoded = [5, 5, 5, 6, 6, 8, 13]",
        "by step": "encoded = {1: 5, 2: 0, 3: 0, 4: 1, 5: 0, 6: 2, 7: 5}",
        "one number": "encoded = 13",
        "no numbers": "encoded = [None] * 7",
        "six numbers": "encoded = [5, 0, 0, 1, 0, 2]",
        "words": 'encoded = ["5", "0", "0", "1", "0", "2", "5"]',
    },
}
