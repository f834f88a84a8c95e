"""Checkers of lesson 10_4, keyword, dense and hybrid search."""

from math import isclose, log

from minillm.course import exercise
from minillm.search import BM25, rrf


@exercise("10-4-a", points=2)
def bm25_term(answer):
    """What one word adds to the score of one document."""
    found = answer(1, 1, 5, 10, 10)
    expected = log(4.5 / 1.5 + 1) / 2.2
    assert isclose(found, expected, rel_tol=1e-6), (
        f"once in an average document, in 1 of 5 documents: idf / (1 + 1.2) = {expected:.3f}, got {found:.3f}"
    )
    assert answer(0, 1, 5, 10, 10) == 0, "a word that is not in the document adds nothing"
    assert answer(1, 5, 5, 10, 10) > 0, (
        "a word that every document has still adds a little: the + 1 inside the logarithm keeps idf above 0"
    )
    once, thrice = answer(1, 1, 5, 10, 10), answer(3, 1, 5, 10, 10)
    assert once < thrice < 2.2 * once, "repeating a word helps less and less: tf / (tf + k1 ...), not tf"
    assert answer(1, 1, 5, 30, 10) < once, (
        "a document three times as long as the average scores lower (b > 0)"
    )
    assert isclose(answer(1, 1, 5, 30, 10, b=0), once), "with b = 0 the length does not matter"
    assert isclose(answer(4, 1, 5, 30, 10, k1=0), log(4)), (
        "with k1 = 0 the fraction is 1 and only the idf is left"
    )


@exercise("10-4-b", points=1)
def only_whether(answer):
    """k1 = 0 takes the count and the length out of the formula."""
    assert isinstance(answer, (tuple, list)), "answer with a pair of numbers, for example (1.2, 0.75)"
    assert len(answer) == 2, f"two numbers, k1 and b, not {len(answer)}"
    scores = BM25(*answer).fit(["a a a a", "a b c d e f g h", "c d"]).scores("a").tolist()
    assert isclose(scores[0], scores[1], rel_tol=1e-6), (
        f"for the query 'a', 'a a a a' scores {scores[0]:.3f} and 'a b c d e f g h' {scores[1]:.3f}: still different. "
        "What must be 0 so that tf / (tf + k1 * (...)) is 1?"
    )


@exercise("10-4-c", points=2)
def fuse(answer):
    """Weighted reciprocal rank fusion against the book's example and the library."""
    book = [[1, 4, 3, 5, 6], [2, 1, 3, 6, 4]]
    found = list(answer(book, 5, [1, 1]))
    assert found == [1, 3, 4, 6, 2, 5], f"the book's example with k = 5 gives 1, 3, 4, 6, 2, 5; got {found}"
    found = list(answer(book, 5, [1, 2]))
    expected = [one for one, _ in rrf(book, k=5, weights=[1, 2])]
    assert found == expected, (
        f"weights multiply what a list gives: with weights [1, 2] expected {expected}, got {found}"
    )
    found = list(answer([["a", "b", "c", "d"], ["d"]], 1, [1, 1]))
    assert found == ["d", "a", "b", "c"], (
        f"d: 1/(1+4) + 1/(1+1) = 0.7, a: 1/(1+1) = 0.5; the best rank is 1, not 0. Got {found}"
    )
    found = list(answer([["y", "x"], ["x", "y"]], 60, [1, 1]))
    assert found == ["y", "x"], f"x and y tie, and y appeared first; got {found}"


@exercise("10-4-d", points=2)
def hit_rate(answer):
    """hit@k looks at the first k and counts a query once."""
    rankings, gold = [["a", "b", "c"], ["d", "e", "f"]], [["c"], ["d", "e"]]
    found = answer(rankings, gold, 1)
    assert found == 0.5, f"only the second query has a gold id at place 1, so 0.5; got {found}"
    found = answer(rankings, gold, 3)
    assert found == 1.0, (
        f"both queries have a gold id among the first three, so 1.0 (a query counts once); got {found}"
    )
    found = answer([["a"], []], [["a"], ["b"]], 5)
    assert found == 0.5, f"an empty ranking is a miss, so 0.5; got {found}"
