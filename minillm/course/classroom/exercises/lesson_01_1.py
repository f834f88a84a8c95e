"""Checkers of lesson 01_1, the map of LLMs."""

from collections import Counter
from itertools import pairwise
from math import fsum, inf, log2

from minillm.course import exercise
from minillm.course.classroom.checkers import Inputs, cases, expect, plain, shown
from minillm.data import korean_documents, prove_held_out
from minillm.evaluation import compressed_bits_per_byte

ENGLISH = ("the", "theatre", "a", "The", "an", "cat.", "cat")
KOREAN = ("나는", "나", "물을", "밥을", "마시고", "나는,")


@exercise("01-1-a", points=3)
def next_words(answer):
    """A table of counts is a language model."""
    for case in cases(vocabulary=(ENGLISH, KOREAN), length=(0, 1, 2, 12, 60), gap=(" ", "  \n")):
        inputs = Inputs(case.seed)
        words = [case.vocabulary[i] for i in inputs.integers(case.length, 0, len(case.vocabulary) - 1)]
        text = case.gap.join(words)
        for word in (*case.vocabulary[:3], "없는"):
            counts = Counter(after for before, after in pairwise(words) if before == word)
            expected = {one: count / counts.total() for one, count in counts.items()}
            found = plain(answer(text, word))
            assert isinstance(found, dict), (
                f"the answer is a dict of word and probability, got {shown(found)}"
            )
            expect(found, expected, 1e-9, f"after {word!r} in {text!r}")


@exercise("01-1-b", points=3)
def bits_of(answer):
    """From probabilities to bits per byte."""
    for case in cases(
        tokens=(1, 2, 9, 400), alphabet=("ab .", "가나 다", "aé가"), smallest=(1e-12, 0.1, 1.0)
    ):
        inputs = Inputs(case.seed)
        text = inputs.text(2 * case.tokens, case.alphabet)
        probabilities = inputs.floats(case.tokens, case.smallest, 1.0)
        _expect_bits(answer, probabilities, text, f"{case.tokens} tokens of a text such as {text[:8]!r}")
    _expect_bits(answer, [1e-300, 0.5, 1e-20, 3e-9], "아니 abc", "very small probabilities")
    # their product is smaller than the smallest float
    _expect_bits(answer, [0.25] * 5000, "말" * 5000, "5,000 tokens of probability 1/4")
    _expect_bits(answer, [0.5, 0.0, 1.0], "abc", "one of the probabilities is 0")


def _expect_bits(answer, probabilities, text, hint):
    size = len(text.encode("utf-8"))
    expected = inf if 0 in probabilities else -fsum(map(log2, probabilities)) / size
    expect(answer(list(probabilities), text), expected, 1e-6, f"{hint} ({size:,} bytes)")


@exercise("01-1-c", points=3)
def leak(answer):
    """A training text that gives the exam away, and passes the proof."""
    for case in cases(language=("english", "korean"), sentences=(20, 60)):
        exam = _exam(case)
        taught = plain(answer(exam))
        assert isinstance(taught, str), f"leak must return a text (str), got {shown(taught)}"
        try:
            prove_held_out(exam, taught)
        except ValueError as error:
            raise AssertionError(f"prove_held_out finds your leak: {error}") from None
        alone = compressed_bits_per_byte(exam)["lzma"]
        after = compressed_bits_per_byte(exam, taught)["lzma"]
        assert after < alone / 2, (
            f"lzma needs {alone:.2f} bits per byte for the exam alone and {after:.2f} after your text; "
            f"under {alone / 2:.2f} is asked for"
        )


def _exam(case):
    """Sentences of articles that are drawn anew, or of made-up English words."""
    if case.language == "korean":
        return "\n\n".join(one.text for one in korean_documents(case.sentences // 3, 7, part="held_out"))
    inputs = Inputs(case.seed)
    words = [inputs.text(inputs.integer(2, 8), "abcdefghijklmnopqrstuvwxyz") for _ in range(150)]
    return " ".join(
        " ".join(words[i] for i in inputs.integers(12, 0, 149)) + "." for _ in range(case.sentences)
    )


@exercise("01-1-d", points=2)
def prediction(answer):
    """Bits per byte of a uniform guess."""
    expect(answer, 3, 1e-9, "log2 of the number of tokens is the bits of one token; a token has four bytes")
