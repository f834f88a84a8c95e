"""Checkers of the tiny lesson of tests/course/lessons.py, and of the example that `author new` writes."""

from minillm.course import exercise
from minillm.course.classroom.checkers import Inputs, cases, copied_library, expect, forbid, plain, shown
from minillm.tokenizer.bpe_plain import best_pair, count_pairs, merge_pair


@exercise("99-9-a", points=2, seconds=2)
def ordered(answer):
    assert answer([2, 1]) == [1, 2], "the values should come back in order"


@exercise("99-9-b", points=1)
def count(answer):
    assert isinstance(answer, int), f"a count is a whole number, not {answer!r}"


@exercise("99-7-a", points=2, seconds=5)
def shares(answer):
    """What is expected has a name here, and the answer is handed a function."""
    copied = copied_library(answer)
    assert not copied, f"by hand: your answer uses {copied}"
    for case in cases(length=(1, 2, 5)):
        values = Inputs(case.seed).integers(case.length, 1, 9)
        expected = parts(values)
        with forbid("by hand", "torch.softmax", answer=answer):
            found = answer(list(values), lambda values: whole(values))
        expect(found, expected, 1e-9, f"the shares of {values}")


def whole(values):
    return sum(values)


def parts(values):
    return [value / whole(values) for value in values]


# --- the checkers of the example lesson; CONTRIBUTING.md shows them from here to the end ---


@exercise("99-8-a", points=2)
def merge(answer):
    copied = copied_library(answer, allowed=("byte_tokens",))
    assert not copied, f"build the merge yourself: your answer uses {copied}"
    for case in cases(length=(0, 1, 2, 30), pair=((b"a", b"b"), (b"a", b"a"), (b"ab", b"a"))):
        tokens = [(b"a", b"b", b"ab")[place] for place in Inputs(case.seed).integers(case.length, 0, 2)]
        given, expected = list(tokens), merge_pair(tokens, case.pair)
        with forbid("build the merge yourself", "minillm.tokenizer.bpe_plain.merge_pair", answer=answer):
            found = answer(given, case.pair)
        expect(found, expected, hint=f"merging {case.pair} in {tokens}")
        expect(given, tokens, hint="the list that you are given must stay as it is")


@exercise("99-8-b", points=2)
def stubborn(answer):
    text = plain(answer)
    assert isinstance(text, str), f"the answer is a text, got {shown(answer)}"
    assert len(text) >= 20, f"the text must have at least 20 characters, got {len(text)}"
    tokens = [bytes([byte]) for byte in text.encode("utf-8")]
    saved = len(tokens) - len(merge_pair(tokens, best_pair(count_pairs([(tokens, 1)]))))
    assert saved == 1, f"the merge of the commonest pair must take one token, it takes {saved}"
