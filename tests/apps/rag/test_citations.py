"""Citations: those that name nothing go, the others stay, in whatever pieces the answer comes."""

import random

import pytest

from minillm.apps.rag import CitationCheck, check_citations


@pytest.mark.parametrize(
    ("text", "sources", "expected"),
    [
        ("It is long [1].", 1, ("It is long [1].", (1,), ())),
        ("It is long [1][7].", 3, ("It is long [1].", (1,), (7,))),
        ("Long [7]. Wide [2, 9,2].", 3, ("Long. Wide [2].", (2,), (7, 9))),
        ("[0] a [4]", 3, (" a", (), (0, 4))),
        ("[2] and [1] and [2]", 2, ("[2] and [1] and [2]", (2, 1), ())),
        ("길다[1]. 넓다[5].", 1, ("길다[1]. 넓다.", (1,), (5,))),
        ("`a[9]` is code [9]", 1, ("`a[9]` is code", (), (9,))),
        ("```\na[9]\n```\nand [9]", 1, ("```\na[9]\n```\nand", (), (9,))),
        ("a lone ` here\n[9] ends with the line", 1, ("a lone ` here\n ends with the line", (), (9,))),
        ("[a] [1 [] [1, ] [-1] [1.5]", 1, ("[a] [1 [] [1, ] [-1] [1.5]", (), ())),
        ("[99999999999999999999]", 1, ("[99999999999999999999]", (), ())),
        ("[1]", 0, ("", (), (1,))),
    ],
)
def test_what_exists_stays(text, sources, expected):
    assert check_citations(text, sources) == expected


def test_pieces_make_no_difference():
    rng = random.Random(0)
    parts = ["[1]", " [7]", "[2, 9]", "`", "```", "\n", " ", "x", "[", "]", ",", "3", "다", "[1", "[12, "]
    for _ in range(3000):
        text = "".join(rng.choice(parts) for _ in range(rng.randrange(14)))
        whole = check_citations(text, 2)
        check, shown, at = CitationCheck(2), "", 0
        while at < len(text):
            step = rng.randrange(1, 5)
            shown += check.feed(text[at : at + step])
            at += step
        assert (shown + check.end(), tuple(check.cited), tuple(check.removed)) == whole, text


def test_little_is_held_back():
    check = CitationCheck(3)
    assert check.feed("It is long [") == "It is long"
    assert check.feed("no citation") == " [no citation"
    assert check.feed(" [" + "1" * 30) == " [" + "1" * 30
