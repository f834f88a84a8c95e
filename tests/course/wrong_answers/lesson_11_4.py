"""Plausible wrong answers to the exercises of lesson 11_4."""

TWO_STAGE = """def two_stage(candidates, texts, scores, k):
    read = {read}
    rankings = []
    for question, ids in candidates:
        ranking = {ranking}
        rankings.append({given})
    return {result}
"""
RIGHT = {
    "read": "list(dict.fromkeys((question, texts[one]) for question, ids in candidates for one in ids))",
    "ranking": "sorted(ids, key=lambda one: -scores[question, texts[one]])",
    "given": "ranking[:k]",
    "result": "rankings, read",
}


def two_stage(**changes):
    return TWO_STAGE.format(**RIGHT | changes)


BLAME = """def blame(candidates, returned, gold):
    found = []
    for first, last, right in zip(candidates, returned, gold):
        if {found}:
            found.append("found")
        elif {second}:
            found.append("second stage")
        else:
            found.append("first stage")
    return {result}
"""


def blame(found="right & set(last)", second="right & set(first)", result="found"):
    return BLAME.format(found=found, second=second, result=result)


MISLED = """corpus = [
    {right},
    "the price of the apple",
    "the price of the pear",
    "the price of the plum",
    "the price of the grape",
    "the price of the melon",
]
misled = (corpus, {question}, {number})"""


def misled(right='"kiwi: 3 coins"', question='"the price of the kiwi"', number=0):
    return MISLED.format(right=right, question=question, number=number)


WRONG = {
    "11-4-a": {
        "gives all n back, as the book's function does": two_stage(given="ranking"),
        "worst first": two_stage(ranking="sorted(ids, key=lambda one: scores[question, texts[one]])"),
        "ties the other way round": two_stage(
            ranking="sorted(ids, key=lambda one: scores[question, texts[one]])[::-1]"
        ),
        "ties by id": two_stage(
            ranking="sorted(ids, key=lambda one: (-scores[question, texts[one]], str(one)))"
        ),
        "ties by text": two_stage(
            ranking="sorted(ids, key=lambda one: (-scores[question, texts[one]], texts[one]))"
        ),
        "cuts before it sorts": two_stage(
            ranking="sorted(ids[:k], key=lambda one: -scores[question, texts[one]])"
        ),
        "k - 1 of them": two_stage(given="ranking[: k - 1]"),
        "k + 1 of them": two_stage(given="ranking[: k + 1]"),
        "the best one alone": two_stage(given="ranking[:1]"),
        "always 5": two_stage(given="ranking[:5]"),
        "keeps the first stage's order": two_stage(ranking="list(ids)"),
        "leaves out what scores below zero": two_stage(
            ranking="sorted((one for one in ids if scores[question, texts[one]] >= 0), "
            "key=lambda one: -scores[question, texts[one]])"
        ),
        "orders by the size of the score": two_stage(
            ranking="sorted(ids, key=lambda one: -abs(scores[question, texts[one]]))"
        ),
        "a pair for every candidate, twice where it comes twice": two_stage(
            read="[(question, texts[one]) for question, ids in candidates for one in ids]"
        ),
        "every text for every question": two_stage(
            read="list(dict.fromkeys((question, text) for question, _ in candidates for text in texts.values()))"
        ),
        "only the k first are read": two_stage(
            read="list(dict.fromkeys((question, texts[one]) for question, ids in candidates for one in ids[:k]))"
        ),
        "everything that the table knows": two_stage(read="list(scores)"),
        "a set of pairs, sorted": two_stage(
            read="sorted({(question, texts[one]) for question, ids in candidates for one in ids})"
        ),
        "ids in the pairs": two_stage(
            read="list(dict.fromkeys((question, one) for question, ids in candidates for one in ids))"
        ),
        "each text once, for whatever question": two_stage(
            read="list({texts[one]: (question, texts[one]) for question, ids in candidates for one in ids}.values())"
        ),
        "text before question": two_stage(
            read="list(dict.fromkeys((texts[one], question) for question, ids in candidates for one in ids))"
        ),
        "rankings with scores": two_stage(
            given="[(one, scores[question, texts[one]]) for one in ranking[:k]]"
        ),
        "each text once in a ranking": two_stage(
            given="list({texts[one]: one for one in reversed(ranking)}.values())[::-1][:k]"
        ),
        "leaves out questions without candidates": two_stage(
            result="[ranking for ranking in rankings if ranking], read"
        ),
        "a ranking a question, the last one counts": two_stage(
            result="list(dict(zip((question for question, _ in candidates), rankings)).values()), read"
        ),
        "the rankings alone": two_stage(result="rankings"),
        "the number of pairs": two_stage(result="rankings, len(read)"),
        "sorts what it was given": two_stage(
            ranking="ids.sort(key=lambda one: -scores[question, texts[one]]) or ids"
        ),
        "takes the scores out of the table": two_stage(
            result="rankings, [(pair, scores.pop(pair))[0] for pair in read]"
        ),
        "the library's search": """def two_stage(candidates, texts, scores, k):
    from minillm.search import TwoStageSearch

    class First:
        def search(self, queries, n):
            return [[(one, 0.0) for one in ids] for _, ids in candidates]

    class Judge:
        read = []

        def score(self, pairs):
            self.read += pairs
            return [float(scores[pair]) for pair in pairs]

    judge = Judge()
    search = TwoStageSearch(First(), judge, texts, 30)
    rankings = search.search([question for question, _ in candidates], k)
    return [[one for one, _ in ranking] for ranking in rankings], list(dict.fromkeys(judge.read))""",
        "the library's order": """def two_stage(candidates, texts, scores, k):
    import numpy as np
    from minillm.search.two_stage import best_first

    read = list(dict.fromkeys((question, texts[one]) for question, ids in candidates for one in ids))
    rankings = []
    for question, ids in candidates:
        ranked = best_first(ids, np.array([scores[question, texts[one]] for one in ids]))
        rankings.append([one for one, _ in ranked][:k])
    return rankings, read""",
    },
    "11-4-b": {
        "the stages changed round": blame()
        .replace('"second stage"', '"x"')
        .replace('"first stage"', '"second stage"')
        .replace('"x"', '"first stage"'),
        "never looks at what is returned": blame(found="right & set(first)", second="False"),
        "blames the second stage for all": blame(second="True"),
        "blames the first stage for all": blame(second="False"),
        "asks for every right text": blame(found="right <= set(last)"),
        "every right text must be a candidate": blame(second="right <= set(first)"),
        "looks at the first place alone": blame(found="last and last[0] in right"),
        "the first candidate alone": blame(second="first and first[0] in right"),
        "what is returned counts as a candidate only": blame(found="right & set(last) & set(first[:1])"),
        "one right text, the smallest": blame(found="min(right) in last", second="min(right) in first"),
        "counts instead of words": blame(
            result="[found.count(one) for one in ('found', 'first stage', 'second stage')]"
        ),
        "other words": blame().replace('"second stage"', '"second"').replace('"first stage"', '"first"'),
        "takes the candidates away": blame(found="right & set(last) or first.clear()"),
        "empties the right texts": blame(
            found="right & set(last)", second="[right.pop() for _ in range(len(right)) if right & set(first)]"
        ),
    },
    "11-4-c": {
        "the first stage is free": "prediction = (20, 0.88, 4000, 0.88)",
        "the largest n, not one of the table": "prediction = (16, 0.85, 3200, 0.85)",
        "the ceiling of the next n": "prediction = (15, 0.88, 3000, 0.85)",
        "pairs of one question": "prediction = (15, 0.85, 15, 0.85)",
        "questions and candidates read alone": "prediction = (15, 0.85, 215, 0.85)",
        "the book prints hit@1 of the first stage": "prediction = (15, 0.85, 3000, 0.5)",
        "the ceiling is one": "prediction = (15, 1.0, 3000, 1.0)",
        "three numbers": "prediction = (15, 0.85, 3000)",
        "texts": 'prediction = ("15", "0.85", "3000", "0.85")',
    },
    "11-4-d": {
        "BM25 is misled, too": misled(right='"the price of the kiwi fruit"', number=1),
        "the judge agrees with BM25": misled(right='"the price of the kiwi"'),
        "the judge sees a tie": misled(question='"the kiwi"'),
        "another number": misled(number=2),
        "a number that is none": misled(number=True),
        "no such text": misled(number=9),
        "too few texts": misled()
        .replace('    "the price of the melon",\n    "the price of the grape",\n', "")
        .replace('    "the price of the grape",\n    "the price of the melon",\n', ""),
        "the same text again": misled().replace("melon", "grape"),
        "the same words in other letters": misled().replace("the melon", "the Grape"),
        "a question without words of the corpus": misled(question='"a quince"'),
        "nothing else has a word of the question": misled(question='"kiwi"'),
        "a list as the question": misled(question='["the", "price"]'),
        "the question's number is missing": misled().replace(", 0)", ")"),
    },
}
