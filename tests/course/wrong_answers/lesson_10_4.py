"""Plausible wrong answers to the exercises of lesson 10_4."""

POSTINGS = """def postings(corpus, k1=1.2, b=0.75):
    average = {average}
    found = {{}}
    for number, words in enumerate(corpus):
        for word in {words}:
            df = {df}
            idf = {idf}
            tf = words.count(word)
            found.setdefault(word, {{}})[number] = {value}
    return found
"""
RIGHT = {
    "average": "sum(map(len, corpus)) / len(corpus)",
    "words": "words",
    "df": "sum(word in one for one in corpus)",
    "idf": "math.log((len(corpus) - df + 0.5) / (df + 0.5) + 1)",
    "value": "idf * tf / (tf + k1 * (1 - b + b * len(words) / average))",
}

FUSE = """def fuse(rankings, k, weights):
    scores = {{}}
    for ranking, weight in zip(rankings, weights):
        for rank, one in enumerate(ranking, start={start}):
            scores[one] = scores.get(one, 0) + {worth}
    return {result}
"""
SORTED = "sorted(scores, key=lambda one: (-scores[one], one))"

SPOILED = 'corpus = {corpus}\nspoiled = (corpus, "{question}", {right})'
RIGHT_CORPUS = """[
    "X200 brakes: keep bread, flour and salt, loaf and oven away",
    "brakes of a truck, of a vehicle and of an automobile",
    "a car and its battery",
    "a mechanic can repair a car",
    "fix the truck battery",
    "a loaf of bread",
]"""


def postings(**changes):
    return POSTINGS.format(**RIGHT | changes)


WRONG = {
    "10-4-a": {
        "the library's saturation": """import importlib


def postings(corpus, k1=1.2, b=0.75):
    share = importlib.import_module("minillm.search.bm25").saturation
    average, found = sum(map(len, corpus)) / len(corpus), {}
    for word in {word for words in corpus for word in words}:
        having = [number for number, words in enumerate(corpus) if word in words]
        idf = math.log((len(corpus) - len(having) + 0.5) / (len(having) + 0.5) + 1)
        found[word] = {n: idf * share(corpus[n].count(word), len(corpus[n]), average, k1, b) for n in having}
    return found""",
        "what the checker expects": """import importlib


def postings(corpus, k1=1.2, b=0.75):
    module = importlib.import_module("minillm.course.classroom.exercises.lesson_10_4")
    return module.expected_postings(corpus, k1, b)""",
        "idf without + 1": postings(idf="math.log((len(corpus) - df + 0.5) / (df + 0.5))"),
        "no saturation": postings(value="idf * tf / (1 - b + b * len(words) / average)"),
        "length upside down": postings(value="idf * tf / (tf + k1 * (1 - b + b * average / len(words)))"),
        "times k1 + 1": postings(
            value="(k1 + 1) * idf * tf / (tf + k1 * (1 - b + b * len(words) / average))"
        ),
        "log of N / df": postings(idf="math.log(len(corpus) / df)"),
        "counts occurrences as documents": postings(df="sum(one.count(word) for one in corpus)"),
        "ignores k1": postings(value="idf * tf / (tf + 1.2 * (1 - b + b * len(words) / average))"),
        "ignores b": postings(value="idf * tf / (tf + k1 * (0.25 + 0.75 * len(words) / average))"),
        "average of the documents that have words": postings(
            average="sum(map(len, corpus)) / sum(1 for one in corpus if one)"
        ),
        "numbers from 1": postings().replace("[number] =", "[number + 1] ="),
        "k1 and b changed round": postings(
            value="idf * tf / (tf + b * (1 - k1 + k1 * len(words) / average))"
        ),
        "different words as the length": postings(
            value="idf * tf / (tf + k1 * (1 - b + b * len(set(words)) / average))"
        ),
        "k1 = 0 is no k1": postings(
            value="idf * tf / (tf + (k1 or 1.2) * (1 - b + b * len(words) / average))"
        ),
        "a whole average": postings(average="max(1, sum(map(len, corpus)) // len(corpus))"),
        "log of base 10": postings(idf="math.log10((len(corpus) - df + 0.5) / (df + 0.5) + 1)"),
        "three decimals": postings(
            value="round(idf * tf / (tf + k1 * (1 - b + b * len(words) / average)), 3)"
        ),
        "sorts the documents": postings().replace(
            "    found = {}", "    [one.sort() for one in corpus]\n    found = {}"
        ),
        "lists every document": postings(
            words="{word for one in corpus for word in one}",
            value="idf * tf / max(tf + k1 * (1 - b + b * len(words) / average), 1e-9)",
        ),
        "empties the corpus": postings().replace("    return found", "    corpus.clear()\n    return found"),
        "the library's formulas": "from minillm.search.bm25 import lucene_idf, saturation\n\n\n"
        + postings(
            idf="lucene_idf(df, len(corpus))", value="idf * saturation(tf, len(words), average, k1, b)"
        ),
        "the library's score, word by word": """def postings(corpus, k1=1.2, b=0.75):
    from minillm.search.bm25 import bm25_plain

    found = {}
    for word in {word for words in corpus for word in words}:
        scores = bm25_plain(corpus, [word], k1, b)
        found[word] = {n: score for n, score in enumerate(scores) if word in corpus[n]}
    return found""",
        "the library's index": """def postings(corpus, k1=1.2, b=0.75):
    index = BM25(k1, b, tokenizer=str.split).fit([" ".join(words) for words in corpus])
    every = {word for words in corpus for word in words}
    return {w: {n: s for n, s in enumerate(index.scores(w).tolist()) if w in corpus[n]} for w in every}""",
    },
    "10-4-b": {
        "uses the weights up": """def fuse(rankings, k, weights):
    scores = {}
    for ranking in rankings:
        weight = weights.pop(0)
        for rank, one in enumerate(ranking, start=1):
            scores[one] = scores.get(one, 0) + weight / (k + rank)
    return sorted(scores, key=lambda one: (-scores[one], one))""",
        "ranks from 0": FUSE.format(start=0, worth="weight / (k + rank)", result=SORTED),
        "forgets the weights": FUSE.format(start=1, worth="1 / (k + rank)", result=SORTED),
        "forgets k": FUSE.format(start=1, worth="weight / rank", result=SORTED),
        "always k = 60": FUSE.format(start=1, worth="weight / (60 + rank)", result=SORTED),
        "worst first": FUSE.format(
            start=1, worth="weight / (k + rank)", result="sorted(scores, key=scores.get)"
        ),
        "ties by first appearance": FUSE.format(
            start=1, worth="weight / (k + rank)", result="sorted(scores, key=lambda one: -scores[one])"
        ),
        "ties by id, the higher first": FUSE.format(
            start=1,
            worth="weight / (k + rank)",
            result="sorted(scores, key=lambda one: (scores[one], one), reverse=True)",
        ),
        "ties by the text of the id": FUSE.format(
            start=1,
            worth="weight / (k + rank)",
            result="sorted(scores, key=lambda one: (-scores[one], str(one)))",
        ),
        "weights that add up to 1": FUSE.format(
            start=1, worth="weight / sum(weights) / (k + rank)", result=SORTED
        ),
        "k = 0 is no k": FUSE.format(start=1, worth="weight / ((k or 60) + rank)", result=SORTED),
        "the best place alone": FUSE.format(start=1, worth="0", result=SORTED).replace(
            "scores.get(one, 0) + 0", "max(scores.get(one, 0), weight / (k + rank))"
        ),
        "ranks from the end": FUSE.format(
            start=1, worth="weight / (k + len(ranking) - rank + 1)", result=SORTED
        ),
        "ids and scores": FUSE.format(
            start=1,
            worth="weight / (k + rank)",
            result="sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))",
        ),
        "only what every list has": FUSE.format(
            start=1,
            worth="weight / (k + rank)",
            result=SORTED.replace(
                "sorted(scores", "sorted([o for o in scores if all(o in r for r in rankings)]"
            ),
        ),
        "drops what has no score": FUSE.format(
            start=1,
            worth="weight / (k + rank)",
            result=SORTED.replace("sorted(scores", "sorted([o for o in scores if scores[o]]"),
        ),
        "keeps the first list only": "def fuse(rankings, k, weights):\n    return sum(rankings[:1], [])",
        "the library's rrf": "def fuse(rankings, k, weights):\n"
        "    return [one for one, _ in rrf(rankings, k=k, weights=weights)]",
        "the library's rrf, imported inside": "def fuse(rankings, k, weights):\n"
        "    import minillm.search as library\n"
        "    return [one for one, _ in library.rrf(rankings, k, weights)]",
        "the library's function behind a name": "import importlib\n\n\ndef fuse(rankings, k, weights):\n"
        "    module = importlib.import_module('minillm.search.fusion')\n"
        "    name = 'add_' + 'reciprocal_ranks'\n"
        "    return [one for one, _ in getattr(module, name)(rankings, k, weights)]",
        "an object that says it is equal": """def fuse(rankings, k, weights):
    class Agreeable(list):
        def __eq__(self, other):
            return True

        def __len__(self):
            return 6

        __hash__ = None

    return Agreeable()""",
    },
    "10-4-c": {
        "vectors find everything": 'finds = ["both", "dense", "both", "dense", "dense"]',
        "keywords find endings": 'finds = ["keyword", "dense", "both", "keyword", "dense"]',
        "keywords know synonyms": 'finds = ["keyword", "both", "both", "neither", "both"]',
        "four words": 'finds = ["keyword", "dense", "both", "neither"]',
        "an unknown word": 'finds = ["keyword", "dense", "both", "none", "dense"]',
        "one text that says all": 'finds = "keyword dense both neither dense"',
    },
    "10-4-d": {
        "fusing does no harm": SPOILED.format(
            corpus='["X200 brakes", "a truck", "a car and its battery", "a loaf", "an oven"]',
            question="X200 brakes",
            right=0,
        ),
        "keywords are wrong as well": SPOILED.format(corpus=RIGHT_CORPUS, question="brakes", right=0),
        "the scores lose, too": SPOILED.format(
            corpus='["brakes brakes bread loaf salt flour oven bake", "brakes of the truck here on this road", '
            '"a car", "a truck", "a battery"]',
            question="brakes",
            right=0,
        ),
        "four texts": SPOILED.format(
            corpus='["X200 brakes bread loaf salt", "brakes of a truck", "a car", "a battery"]',
            question="X200 brakes",
            right=0,
        ),
        "names the text": SPOILED.format(corpus=RIGHT_CORPUS, question="X200 brakes", right="corpus[0]"),
        "another text is right": SPOILED.format(corpus=RIGHT_CORPUS, question="X200 brakes", right=1),
        "the same text twice": SPOILED.format(
            corpus=RIGHT_CORPUS.replace("a loaf of bread", "a car and its battery"),
            question="X200 brakes",
            right=0,
        ),
    },
}
