"""Small tasks for sequence models: every answer is in the text, and what is asked for can be known."""

import pytest
import torch

from minillm.data import SILENT, induction, recall, selective_copy


def generator():
    return torch.Generator().manual_seed(0)


def test_selective_copy_asks_for_the_letters_in_their_order():
    ids, targets = selective_copy(generator(), 20, 40)
    for text, wanted in zip(ids.tolist(), targets.tolist()):
        assert [one for one in text if one < 16] == [one for one in wanted if one != SILENT]
        assert text[-8:] == [17] * 8
        assert set(wanted[:-8]) == {SILENT}
        assert len([one for one in text[:-8] if one == 16]) == 24


def test_induction_asks_only_for_what_was_seen_before():
    ids, targets = induction(generator(), 20, 50)
    for text, wanted in zip(ids.tolist(), targets.tolist()):
        after = {}
        for t, (letter, answer) in enumerate(zip(text, wanted)):
            assert (answer != SILENT) == (letter in after)
            if answer != SILENT:
                assert after[letter] == answer
            if t + 1 < len(text):
                after[letter] = text[t + 1]


def test_recall_asks_for_the_value_of_each_key():
    for length in (32, 64):
        ids, targets = recall(generator(), 20, length)
        assert ids.shape == (20, length)
        for text, wanted in zip(ids.tolist(), targets.tolist()):
            pairs = dict(zip(text[: length // 2 : 2], text[1 : length // 2 : 2]))
            assert len(pairs) == length // 4
            asked = {key: answer for key, answer in zip(text, wanted) if answer != SILENT}
            assert asked == pairs


@pytest.mark.parametrize(
    ("task", "length", "said"),
    [
        (selective_copy, 15, "length must be at least 16, got 15"),
        (induction, 16, "length must be at least 17, got 16"),
        (recall, 30, "multiple of 4 up to 256, got 30"),
        (recall, 260, "multiple of 4 up to 256, got 260"),
    ],
)
def test_a_length_that_cannot_be_is_named(task, length, said):
    with pytest.raises(ValueError, match=said):
        task(generator(), 2, length)


@pytest.mark.parametrize("task", [selective_copy, induction, recall])
def test_bad_input_is_named_and_a_seed_says_all(task):
    with pytest.raises(ValueError, match=r"generator must be a torch.Generator, got 3"):
        task(3, 2, 32)
    with pytest.raises(ValueError, match="items must be at least 1, got 0"):
        task(generator(), 0, 32)
    first, again, other = (
        task(generator(), 9, 32),
        task(generator(), 9, 32),
        task(generator().manual_seed(1), 9, 32),
    )
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], other[0])
