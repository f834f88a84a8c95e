"""Requests and their fields: the text says all of them, the parts share no value, and the score reads what is there."""

import json

import pytest

from minillm.data import prove_held_out
from minillm.data.requests import FIELDS, WORDINGS, Request, requests, score_request

OPEN = ("place", "item", "to", "task")  # fields whose values are held out


def test_the_text_says_every_field():
    for part in ("train", "test"):
        found = requests(400, part)
        assert len({one.text for one in found}) == 400
        for one in found:
            assert tuple(one.fields) == ("action", *FIELDS[one.fields["action"]])
            assert all(str(value) in one.text for key, value in one.fields.items() if key != "action")
            assert json.loads(one.answer) == dict(one.fields)
        assert {one.fields["action"] for one in found} == set(WORDINGS)
    assert requests(50, seed=3) == requests(50, seed=3) != requests(50, seed=4)


def test_no_value_and_no_new_wording_stands_in_both_parts():
    train, test = requests(2000), requests(2000, "test")
    for name in OPEN:
        sides = [{one.fields[name] for one in part if name in one.fields} for part in (train, test)]
        assert all(len(side) > 7 for side in sides)
        assert not sides[0] & sides[1]
    assert not any(one.new_wording for one in train)
    assert 0.1 < sum(one.new_wording for one in test) / 2000 < 0.3
    prove_held_out([one.text for one in test], [one.text for one in train], what="request")


def test_scores():
    request = Request(
        "Order 3 large mugs for Mina.", {"action": "order", "item": "large mugs", "count": 3, "to": "Mina"}
    )
    right = '{"action": "order", "item": "large mugs", "count": 3, "to": "Mina"}'
    for answer, wanted in {
        right: (True, True, True, 1.0),
        f" \n{right}\n": (True, True, True, 1.0),
        right.replace("3", '"3"'): (True, True, True, 1.0),
        right.replace("Mina", "mina"): (True, True, False, 0.75),
        '{"to": "Mina"}': (True, False, False, 0.25),
        right[:-1] + ', "more": 1}': (True, False, False, 1.0),
        f"Here you are: {right}": (False, False, False, 0.0),
        f"[{right}]": (False, False, False, 0.0),
        right[:-1]: (False, False, False, 0.0),
        "": (False, False, False, 0.0),
        "[" * 100_000: (False, False, False, 0.0),
    }.items():
        assert tuple(score_request(answer, request)) == wanted, answer


@pytest.mark.parametrize(("call", "message"), [
    (lambda: requests(0), "n must be"), (lambda: requests(3, "dev"), "part must be"),
    (lambda: score_request(3, requests(1)[0]), "answer must be"), (lambda: score_request("", "x"), "must be a Request"),
])  # fmt: skip
def test_mistakes(call, message):
    with pytest.raises(ValueError, match=message):
        call()
