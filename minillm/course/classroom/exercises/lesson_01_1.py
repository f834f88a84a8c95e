"""Checkers of lesson 01_1, the map of LLMs."""

from math import isclose, log

from minillm.course import exercise


@exercise("01-1-a", points=3)
def most_likely_next(answer):
    """Counting which word follows which."""
    text = "the cat sat on the mat and the cat ran"
    assert answer(text, "the") == "cat", (
        "in 'the cat sat on the mat and the cat ran', cat follows the twice, mat once"
    )
    assert answer("to be or not to be", "be") == "or", (
        "the last word is followed by nothing, so it adds no count"
    )
    assert answer(text, "dog") is None, (
        "a word that is never followed by anything has no most likely next word: None"
    )
    assert answer("x a x b", "x") == "a", (
        "a and b follow x once each: the one that comes first in the text wins"
    )
    assert answer("theatre theatre the end", "the") == "end", "compare whole words: theatre is not the"


@exercise("01-1-b", points=2)
def bits_per_byte(answer):
    """From nats per token to bits per byte."""
    found = answer(log(2), 100, 100)
    assert isclose(found, 1), (
        f"ln 2 nats are one bit: with one token a byte that is 1 bit a byte, got {found}"
    )
    found = answer(log(2), 100, 400)
    assert isclose(found, 0.25), (
        f"one bit a token and four bytes a token are a quarter bit a byte, got {found}"
    )
    found = answer(4.0, 1000, 4200)
    assert isclose(found, 4.0 / log(2) * 1000 / 4200), (
        f"4 nats, 1,000 tokens, 4,200 bytes give 1.374, got {found:.3f}"
    )


@exercise("01-1-c", points=3)
def four_bit_bytes(answer):
    """Codes and scales."""
    assert answer(64, 64) == 36, (
        f"64 weights are 32 bytes of codes and one scale of 4 bytes: 36, got {answer(64, 64)}"
    )
    assert answer(128, 64) == 72, f"128 weights in blocks of 64 have two scales, got {answer(128, 64)}"
    assert answer(1, 64) == 5, f"one weight takes a whole byte and a whole scale, got {answer(1, 64)}"
    assert answer(100, 64) == 58, f"100 weights start two blocks of 64, got {answer(100, 64)}"
    assert isinstance(answer(100, 64), int), "bytes are whole: return an int"
