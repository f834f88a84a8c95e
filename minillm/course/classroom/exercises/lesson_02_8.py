"""Checkers of lesson 02_8, pre-training objectives."""

import numpy as np

from minillm.course import exercise
from minillm.course.classroom.checkers import Inputs, cases, copied_library, expect, forbid, plain, shown
from minillm.training import MaskedLMNoise

BUILD = "build the span corruption yourself"


@exercise("02-8-a", points=3)
def corrupt(answer):
    """Spans out of a text."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    names = [f"minillm.training.spans.{name}" for name in ("corrupt_spans", "span_mask", "restore_spans")]
    for case in cases(length=(1, 2, 7, 30), spans=(0, 1, 2, 5), at_start=(False, True), at_end=(False, True)):
        inputs = Inputs(case.seed)
        ids = inputs.integers(case.length, 100, 130)  # some tokens come twice
        spans = _spans(inputs, case)
        sentinels = [20 + 3 * place for place in range(len(spans) + case.spans % 3)]
        expected = _expected(ids, spans, sentinels)
        given = [list(ids), list(spans), list(sentinels)]
        with forbid(BUILD, *names, answer=answer):
            found = answer(*given)
        hint = f"a text of {len(ids)} tokens, spans {spans}, sentinels {sentinels}"
        expect(found, expected, hint=f"{hint}: (inputs, targets)")
        expect(given[0], ids, hint=f"{hint}: the text must stay as it is")
        expect(given[1:], [spans, sentinels], hint=f"{hint}: spans and sentinels must stay as they are")


def _spans(inputs, case):
    """Up to case.spans spans in a text of case.length tokens, which do not touch each other."""
    place = 0 if case.at_start else 1
    spans = []
    while len(spans) < case.spans and place < case.length:
        stop = min(case.length, place + inputs.integer(1, 3))
        spans.append((place, stop))
        place = stop + inputs.integer(1, 3)
    if case.at_end and spans:
        spans[-1] = (spans[-1][0], case.length)
    return spans


def _expected(ids, spans, sentinels):
    inputs, targets = list(ids), []
    for (start, stop), sentinel in zip(reversed(spans), reversed(sentinels[: len(spans)])):
        inputs[start:stop] = [sentinel]
        targets[:0] = [sentinel, *ids[start:stop]]
    return [inputs, targets]


@exercise("02-8-b", points=3)
def leak(answer):
    """What can be read off the input."""
    found = answer if isinstance(answer, dict) else {}
    missing = [name for name in ("leak", "wrong", "reason") if name not in found]
    assert not missing, f"the answer lacks {', '.join(missing)}"
    share = found["leak"]
    for case in cases(length=(0, 1, 8, 200), targets=("none", "masked", "all"), mask_share=(0.8, 1.0, 0.0)):
        inputs = Inputs(case.seed)
        ids = inputs.integers(case.length, 5, 12)  # few words, so that a random one is often the old one
        noise = MaskedLMNoise(
            3, 12, rate=0.4, mask_share=case.mask_share, random_share=(1 - case.mask_share) / 2
        )
        given, labels = (part.tolist() for part in noise(ids, np.random.default_rng(case.seed)))
        labels = {"none": [-100] * len(ids), "masked": labels, "all": ids}[case.targets]
        same = [one == label for one, label in zip(given, labels) if label != -100]
        before = [list(given), list(labels)]
        expected = sum(same) / len(same) if same else 0.0
        expect(
            share(given, labels), expected, 1e-6, f"inputs {shown(given)}, labels {shown(labels)}: the share"
        )
        expect([given, labels], before, hint="the lists that you are given must stay as they are")
    letters = {name: plain(found[name], name) for name in ("wrong", "reason")}
    for name, letter in letters.items():
        assert isinstance(letter, str), f"{name} is a letter from a to d, got {shown(letter)}"
    letters = {name: letter.strip().lower() for name, letter in letters.items()}
    assert letters["wrong"] == "c", (
        f"wrong: {shown(letters['wrong'])} is not it. Damage a long text, take the whole text as its labels, and "
        "ask your leak"
    )
    assert letters["reason"] == "b", (
        f"reason: {shown(letters['reason'])} is not it. What does a model have to learn to get those targets right?"
    )


@exercise("02-8-c", points=2)
def targets(answer):
    """Targets of 400 tokens."""
    found = plain(answer)
    assert isinstance(found, list), f"the prediction is a list of four numbers, got {shown(found)}"
    assert len(found) == 4, f"the prediction has four numbers, got {len(found)}"
    hints = (
        "causal: the first token is the answer to nothing",
        "masked: 15 % of 400",
        "T5: the lost tokens, a sentinel for each span, and </s>",
        "BART: the decoder writes the whole text",
    )
    for number, expected, hint in zip(found, (399, 60, 81, 400), hints):
        expect(number, expected, hint=hint)


BUILD_MASKS = "build the masking yourself"


@exercise("02-8-d", points=3)
def mask(answer):
    """BERT's damage to whole words, from draws that are made."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD_MASKS}: your answer uses {copied}"
    names = [f"minillm.training.masking.{name}" for name in ("place_masks", "MaskedLMNoise.__call__")]
    for case in cases(
        60, length=(0, 1, 2, 12, 40), begins=("all", "none", "some"), special=(0, 1, 3), edges=(False, True)
    ):
        inputs = Inputs(case.seed)
        ids = inputs.integers(case.length, 10, 30)  # some tokens come twice
        special = set(range(10, 10 + 2 * case.special, 2))
        begins = [case.begins == "all" or (case.begins == "some" and inputs.integer(0, 2) == 0) for _ in ids]
        chances, kinds = (inputs.floats(case.length, 0.0, most) for most in (0.3, 1.0))
        if case.edges:  # draws that lie on the borders
            chances = [(0.15, 0.0, one)[inputs.integer(0, 2)] for one in chances]
            kinds = [(0.8, 0.9, one)[inputs.integer(0, 2)] for one in kinds]
        words = inputs.integers(case.length, 10, 30)
        given = [list(one) for one in (ids, chances, kinds, words, begins)]
        expected = _masked(ids, chances, kinds, words, begins, special, 7)
        with forbid(BUILD_MASKS, *names, answer=answer):
            found = answer(*given, set(special), 7)
        drawn = f"chances {shown(chances)}, kinds {shown(kinds)}"
        hint = f"ids {shown(ids)}, {drawn}, begins {shown(begins)}, special {shown(special)}"
        expect(found, expected, hint=f"{hint}: (inputs, labels)")
        expect(given, [ids, chances, kinds, words, begins], hint=f"{hint}: the lists must stay as they are")


def _masked(ids, chances, kinds, words, begins, special, mask_id):
    inputs, labels, chance = [], [], None
    for place, token in enumerate(ids):
        if place == 0 or begins[place] or ids[place - 1] in special:
            chance = chances[place]
        chosen = chance < 0.15 and token not in special
        labels.append(token if chosen else -100)
        if chosen and kinds[place] < 0.8:
            inputs.append(mask_id)
        else:
            inputs.append(words[place] if chosen and kinds[place] < 0.9 else token)
    return [inputs, labels]
