"""Checkers of lesson 10_4, keyword, dense and hybrid search."""

from fractions import Fraction
from itertools import pairwise

import numpy as np

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    plain,
    same,
    shown,
)
from minillm.search import BM25, DenseRetriever, HybridSearch, WeightedSearch, rrf
from minillm.search.bm25 import lucene_idf, saturation
from minillm.search.words import plain_words

OWN = "build it yourself, with nothing of minillm"
KEYWORD_PARTS = (
    "minillm.search.bm25.bm25_plain",
    *(f"minillm.search.bm25.BM25.{name}" for name in ("fit", "add", "ready")),
    *(f"minillm.search.bm25.{name}" for name in ("lucene_idf", "okapi_idf", "saturation")),
    "minillm.search.bm25_postings.with_impacts",
    f"{__name__}.expected_postings",
)
FUSIONS = (
    "minillm.search.fusion.rrf",
    "minillm.search.fusion.add_reciprocal_ranks",
    "minillm.search.HybridSearch.search",
)
WORDS = ("a", "b", "c", "토큰", "모델")


@exercise("10-4-a", points=3)
def postings(answer):
    """What every word adds to every document that has it."""
    refuse_copies(answer)
    for case in cases(
        documents=(1, 2, 3, 7), longest=(1, 4, 9), k1=(0, 0.5, 1.2, 3.0), b=(0, 0.4, 0.75, 1.0)
    ):
        inputs = Inputs(case.seed)
        lengths = inputs.integers(case.documents, 0, case.longest)
        lengths[0] = max(lengths[0], 1)  # not all documents are empty
        corpus = [[WORDS[place] for place in inputs.integers(length, 0, 4)] for length in lengths]
        given, expected = [list(words) for words in corpus], expected_postings(corpus, case.k1, case.b)
        with forbid(OWN, *KEYWORD_PARTS, answer=answer):
            found = plain(answer(given, case.k1, case.b), "what postings returns")
        where = f"k1 = {case.k1}, b = {case.b}, corpus {shown(corpus)}"
        assert isinstance(found, dict), f"postings returns a dict, got {shown(found)}"
        expect(sorted(map(str, found)), sorted(expected), hint=f"the words, with {where}")
        times_constant = {
            word: {number: value * (case.k1 + 1) for number, value in row.items()}
            for word, row in expected.items()
        }
        constant = case.k1 > 0 and same(found, times_constant, 1e-6)
        assert not constant, f"every value is k1 + 1 times as large: leave the book's constant out ({where})"
        expect(found, expected, 1e-6, f"{where}, as word: {{document number: idf times saturation}}")
        expect(given, corpus, hint="the corpus must stay as it is")


def expected_postings(corpus, k1, b):
    """The postings by the library's two formulas."""
    average = sum(map(len, corpus)) / len(corpus)
    words = sorted({word for document in corpus for word in document})
    return {
        word: {
            number: lucene_idf(sum(word in one for one in corpus), len(corpus))
            * saturation(document.count(word), len(document), average, k1, b)
            for number, document in enumerate(corpus)
            if word in document
        }
        for word in words
    }


def refuse_copies(answer):
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"


@exercise("10-4-b", points=2)
def fuse(answer):
    """Weighted reciprocal rank fusion: the order is that of the exact scores."""
    refuse_copies(answer)

    def fused(rankings, k, weights):
        given, given_weights = [list(ranking) for ranking in rankings], list(weights)
        with forbid(OWN, *FUSIONS, answer=answer):
            found = as_list(answer(given, k, given_weights), "what fuse returns")
        expect(given, rankings, hint="the rankings must stay as they are")
        expect(given_weights, list(weights), hint="the weights must stay as they are")
        return found

    book = [[1, 4, 3, 5, 6], [2, 1, 3, 6, 4]]
    expect(fused(book, 5, [1, 1]), [1, 3, 4, 6, 2, 5], hint="the book's example, k = 5")
    expect(
        fused(book, 5, [1, 2]),
        [one for one, _ in rrf(book, k=5, weights=[1, 2])],
        hint="the book's example with weights [1, 2]: a weight multiplies what its list gives",
    )
    expect(
        fused([["a", "b", "c", "d"], ["d"]], 1, [1, 1]),
        ["d", "a", "b", "c"],
        hint="k = 1, d: 1/(1+4) + 1/(1+1) = 0.7, a: 1/(1+1) = 0.5; the best rank is 1",
    )
    expect(fused([["y", "x"], ["x", "y"]], 60, [1, 1]), ["x", "y"], hint="x and y tie: the order is by id")
    expect(fused([["b"], ["a"], []], 3, [2, 2, 1]), ["a", "b"], hint="a and b tie: the order is by id")
    expect(fused([[10], [9]], 3, [1, 1]), [9, 10], hint="9 and 10 tie: numbers are ordered as numbers")
    expect(fused([["b", "c"], ["a"]], 3, [0, 0]), ["a", "b", "c"], hint="every weight is 0, so all ids tie")
    expect(fused([], 60, []), [], hint="no rankings")
    for case in cases(
        k=(0, 1, 5, 60), weights=((1, 1), (3, 1), (1, 0), (1, 2, 1), (0, 1, 5)), longest=(1, 4, 9)
    ):
        inputs = Inputs(case.seed)
        rankings = [inputs.shuffled(range(10))[: inputs.integer(0, case.longest)] for _ in case.weights]
        check_order(fused(rankings, case.k, case.weights), rankings, case)


def check_order(found, rankings, case):
    """Every id once, and none before one of a higher score. Ties are left to the cases above: floats may miss them."""
    scores = {}
    for ranking, weight in zip(rankings, case.weights):
        for rank, one in enumerate(ranking, start=1):
            scores[one] = scores.get(one, 0) + Fraction(weight, case.k + rank)
    where = f"k = {case.k}, weights {list(case.weights)}, rankings {rankings}"
    expect(
        sorted(found, key=str), sorted(scores, key=str), hint=f"every id once: {where}, got {shown(found)}"
    )
    for one, after in pairwise(found):
        values = f"{float(scores[one]):.4f} before {float(scores[after]):.4f}"
        assert scores[one] >= scores[after], (
            f"{one} stands before {after}, {values}, in {shown(found)}: {where}"
        )


ANSWERS = ("keyword", "dense", "both", "neither")


@exercise("10-4-c", points=2)
def who_finds_it(answer):
    """Exact words, meaning, both, none."""
    found = as_list(answer, "the answer", 5)
    for one in found:
        assert one in ANSWERS, f"each of the five is one of {', '.join(ANSWERS)}; got {shown(one)}"
    hints = {
        "E47": (
            0,
            "keyword",
            "E47 stands in one text, and MEANING does not have it: a vector of zeros finds nothing",
        ),
        "fix my vehicle": (
            1,
            "dense",
            "no text has one of its words; which vectors are about vehicles and repair?",
        ),
        "worn brakes": (2, "both", "both words stand in the text, and its vector points the same way"),
        "when do you open": (3, "neither", "'opening' is another word than 'open', and MEANING has neither"),
        "bake a loaf": (4, "dense", "no text has one of its words; which vector is about food alone?"),
    }
    for question, (place, expected, hint) in hints.items():
        assert found[place] == expected, f"{question!r}: you say {shown(found[place])}. Look again: {hint}"


MEANING = {
    "car": (1, 0, 0), "automobile": (1, 0, 0), "truck": (1, 0, 0), "vehicle": (1, 0, 0), "brakes": (3, 1, 0),
    "battery": (1, 0, 0), "repair": (0, 1, 0), "fix": (0, 1, 0), "mechanic": (0, 1, 0), "bread": (0, 0, 1),
    "loaf": (0, 0, 1), "flour": (0, 0, 1), "salt": (0, 0, 1), "bake": (0, 0, 1), "oven": (0, 0, 1),
}  # fmt: skip


class ToyEncoder:
    """The lesson's own: a text is the sum of its words' vectors."""

    dim = 3

    def encode(self, texts):
        rows = [[(0, 0, 0), *(MEANING.get(word, (0, 0, 0)) for word in plain_words(text))] for text in texts]
        return np.array([np.sum(row, axis=0) for row in rows], np.float32)


@exercise("10-4-d", points=3)
def spoiled(answer):
    """Keywords right, ranks wrong, scores right."""
    corpus, question, right = as_list(answer, "spoiled = (corpus, question, right)", 3)
    corpus = as_list(corpus, "corpus")
    assert 5 <= len(corpus) <= 20, f"corpus must have 5 to 20 texts, got {len(corpus)}"
    for text in [*corpus, question]:
        assert isinstance(text, str), f"corpus and question hold texts, got {shown(text)}"
    assert len(set(corpus)) == len(corpus), f"the texts must differ, got {shown(corpus)}"
    is_number = isinstance(right, int) and not isinstance(right, bool) and 0 <= right < len(corpus)
    assert is_number, f"right is the number of a text, 0 to {len(corpus) - 1}, got {shown(right)}"
    lexical, dense = BM25().fit(corpus), DenseRetriever(ToyEncoder()).fit(corpus)
    ranking = lexical.search([question], 20)[0]
    listed = [one for one, _ in ranking]
    assert listed[:1] == [right], (
        f"keyword search must put text {right} first, its ranking is {shown(listed)}"
    )
    ahead = len(ranking) == 1 or ranking[0][1] > ranking[1][1] + 1e-4
    assert ahead, f"text {right} must be ahead of every other by keywords, but the first two score the same"
    fused = HybridSearch(lexical, dense).search(question, 20)
    assert fused[0][0] != right, (
        f"fused by ranks, text {right} is still first: {shown([one for one, _ in fused])}. Let another text be near "
        "the top of both lists, and the right one far down by vectors"
    )
    summed = WeightedSearch(lexical, dense, 0.4).search([question], 20)[0]
    assert summed[0][0] == right, (
        f"the weighted sum must put text {right} first, it gives {shown([one for one, _ in summed])}. Let the right "
        "text be further ahead by keywords: rare words, or more texts without any"
    )
