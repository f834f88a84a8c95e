"""Checkers of lesson 02_1, tokenization."""

import unicodedata

from minillm.course import exercise
from minillm.tokenizer import BPETokenizer


@exercise("02-1-a", points=2)
def be_the_tokenizer(answer):
    """Four merges by hand."""
    example = 'give the tokens as a list of strings, for example ["slow", "est"]'
    assert isinstance(answer, (list, tuple)), example
    assert all(isinstance(token, str) for token in answer), example
    assert "".join(answer) == "slowest", f"the tokens must spell slowest, yours spell {''.join(answer)!r}"
    assert "es" not in answer, (
        "e and s are glued to st, not to each other: (s, t) wins the tie and comes first"
    )
    assert "est" in answer, "st occurs 9 times and so does e before it: both are among the first merges"
    assert list(answer) == ["s", "l", "o", "w", "est"], (
        "count again: (n, e) occurs 10 times, then (ne, w) 10 times, (s, t) 9 and (e, st) 9; that makes four merges"
    )


@exercise("02-1-b", points=3)
def build_the_encoder(answer):
    """Merges replayed in order."""
    assert answer(b"ab", [(b"a", b"b")]) == [b"ab"], "with the one merge (a, b), the word ab is one token"
    assert answer(b"", []) == [], "an empty word has no tokens"
    assert answer(b"abc", []) == [b"a", b"b", b"c"], "without merges a word is its bytes, each of type bytes"
    found = answer(b"aaa", [(b"a", b"a")])
    assert found == [b"aa", b"a"], f"aaa merges from the left, to aa and a; got {found}"
    found = answer(b"abab", [(b"a", b"b"), (b"ab", b"ab")])
    assert found == [b"abab"], (
        f"a merge must see what the merge before it made: abab is one token, got {found}"
    )
    found = answer(b"abcb", [(b"b", b"c"), (b"a", b"b")])
    assert found == [b"a", b"bc", b"b"], f"the merge learned first goes first: a, bc, b; got {found}"
    word = "한".encode()
    found = answer(word, [(word[:1], word[1:2]), (word[:2], word[2:])])
    assert found == [word], f"two merges put the three bytes of 한 together again, got {found}"


@exercise("02-1-c", points=2)
def one_text_one_cost(answer):
    """Composed before encoding."""
    tokenizer = BPETokenizer.train(["한국어 한국 말글 " * 9], 300)
    composed, decomposed = (unicodedata.normalize(form, "한국어") for form in ("NFC", "NFD"))
    assert answer(tokenizer, composed) == answer(tokenizer, decomposed), (
        "한국어 looks the same composed and decomposed, and must get the same ids"
    )
    assert answer(tokenizer, composed) == tokenizer.encode(composed), (
        "the composed form is the cheap one: compose, do not decompose"
    )
    assert tokenizer.decode(answer(tokenizer, "ﬁ")) == "ﬁ", (
        "the ligature ﬁ became something else: NFKC also replaces look-alikes, NFC does not"
    )
    assert tokenizer.decode(answer(tokenizer, " Hi ")) == " Hi ", "blanks and capitals must stay as they are"


@exercise("02-1-d", points=2)
def break_the_budget(answer):
    """Ten characters of four bytes."""
    assert isinstance(answer, str), f"the message must be a str, got {type(answer).__name__}"
    assert len(answer) <= 10, f"the message has {len(answer)} characters, at most 10 are allowed"
    size = len(answer.encode("utf-8"))
    assert size > 35, (
        f"{size} bytes can never cost more than {size} tokens: which characters need the most bytes in UTF-8?"
    )
