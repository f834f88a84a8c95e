"""Plausible wrong answers to the exercises of lesson 10_4."""

TERM = """import math

def bm25_term(tf, df, documents, length, average, k1=1.2, b=0.75):
    idf = {idf}
    return {value}
"""
IDF = "math.log((documents - df + 0.5) / (df + 0.5) + 1)"
FRACTION = "tf / (tf + k1 * (1 - b + b * length / average))"

FUSE = """def fuse(rankings, k, weights):
    scores = {{}}
    for ranking, weight in zip(rankings, weights):
        for rank, one in enumerate(ranking, start={start}):
            scores[one] = scores.get(one, 0) + {worth}
    return {result}
"""
SORTED = "sorted(scores, key=lambda one: -scores[one])"

HITS = """def hit_rate(rankings, gold, k):
    {body}
"""

WRONG = {
    "10-4-a": {
        "idf without + 1": TERM.format(
            idf="math.log((documents - df + 0.5) / (df + 0.5))", value=f"idf * {FRACTION} if tf else 0.0"
        ),
        "no saturation": TERM.format(idf=IDF, value="idf * tf / (1 - b + b * length / average)"),
        "length upside down": TERM.format(
            idf=IDF, value="idf * tf / (tf + k1 * (1 - b + b * average / length)) if tf else 0.0"
        ),
        "times k1 + 1": TERM.format(idf=IDF, value=f"idf * (k1 + 1) * {FRACTION} if tf else 0.0"),
        "divides 0 by 0 when k1 and tf are 0": TERM.format(idf=IDF, value=f"idf * {FRACTION}"),
        "log of N / df": TERM.format(
            idf="math.log(documents / df)", value=f"idf * {FRACTION} if tf else 0.0"
        ),
    },
    "10-4-b": {
        "takes out the length only": "knobs = (1.2, 0)",
        "pays the full length": "knobs = (1.2, 1)",
        "a large k1": "knobs = (1000, 0.75)",
        "one number": "knobs = 0",
        "the other way round": "knobs = (0.75, 0)",
    },
    "10-4-c": {
        "ranks from 0": FUSE.format(start=0, worth="weight / (k + rank)", result=SORTED),
        "forgets the weights": FUSE.format(start=1, worth="1 / (k + rank)", result=SORTED),
        "forgets k": FUSE.format(start=1, worth="weight / rank", result=SORTED),
        "worst first": FUSE.format(
            start=1, worth="weight / (k + rank)", result="sorted(scores, key=scores.get)"
        ),
        "ties by id": FUSE.format(
            start=1,
            worth="weight / (k + rank)",
            result="sorted(scores, key=lambda one: (-scores[one], str(one)))",
        ),
        "keeps the first list only": "def fuse(rankings, k, weights):\n    return list(rankings[0])",
    },
    "10-4-d": {
        "ignores k": HITS.format(
            body="return sum(bool(set(r) & set(g)) for r, g in zip(rankings, gold)) / len(gold)"
        ),
        "recall instead": HITS.format(
            body="return sum(len(set(r[:k]) & set(g)) / len(g) for r, g in zip(rankings, gold)) / len(gold)"
        ),
        "counts instead of share": HITS.format(
            body="return sum(bool(set(r[:k]) & set(g)) for r, g in zip(rankings, gold))"
        ),
        "divides by gold ids": HITS.format(
            body="return sum(len(set(r[:k]) & set(g)) for r, g in zip(rankings, gold)) / sum(map(len, gold))"
        ),
    },
}
