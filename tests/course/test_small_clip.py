"""The CLIP that comes with minillm: it is what its script makes, and finds what its facts say."""

import numpy as np
import pytest

from minillm.course.small.clip import (
    CLIPRecipe,
    distinct,
    examine,
    make_pairs,
    new_clip,
    ranks,
    recalls,
    small_clip,
    train_clip,
)  # fmt: skip
from minillm.data import held_out_pairs, prove_held_out


@pytest.fixture(scope="module")
def kept():
    return small_clip()


def test_recorded_recalls_hold_within_three_sigma(kept):
    model, tokenizer, facts = kept
    exam = distinct(1024, "train", 9_000)
    found = recalls(model, tokenizer, exam, exam.captions)
    for way, recorded in facts["exam"]["english"].items():
        for name, share in recorded.items():
            sigma = (max(share * (1 - share), 0.01) / len(exam)) ** 0.5
            assert abs(found[way][name] - share) < 3 * sigma, (way, name)


def test_the_exam_has_no_two_equal_captions_and_no_held_out_pair():
    exam, other = distinct(300, "train", 9_000), distinct(200, "held_out", 9_000)
    pairs = {(one.colour, one.shape) for things in exam.objects for one in things}
    assert prove_held_out(set(held_out_pairs()), pairs, what="pair").items == 12
    assert {(one.colour, one.shape) for things in other.objects for one in things} <= set(held_out_pairs())
    said = {(one.shape, one.colour, one.size, one.row, one.column, ground)
            for (one,), ground in zip(exam.objects, exam.backgrounds)}  # fmt: skip
    assert len(said) == 300
    with pytest.raises(ValueError, match="different scenes"):
        distinct(400, "held_out", 0)


def test_ranks_by_hand():
    u = np.eye(3, dtype=np.float32)
    v = np.array([[0.8, 0.6, 0], [0.6, 0.8, 0], [0.9, 0, np.sqrt(0.19)]], np.float32)
    # row 0 of u sees .8, .6, .9: its own is second; row 1 sees .6, .8, 0; row 2 sees 0, 0, .44
    assert ranks(u, v).tolist() == [1, 0, 0]


@pytest.mark.soak
def test_a_short_prefix_goes_the_recorded_way(kept):
    recipe = CLIPRecipe(**kept.facts["recipe"])
    pairs, tokenizer, _ = make_pairs(recipe)
    assert tokenizer.to_json() == kept.tokenizer.to_json()
    every = recipe.steps // 26
    losses = train_clip(new_clip(tokenizer, recipe), pairs, recipe, every + 1)
    assert abs(losses[0] - kept.facts["losses"][0]) < 0.02
    assert abs(losses[every] - kept.facts["losses"][1]) < 0.3


@pytest.mark.soak
def test_examination_has_every_figure(kept):
    found = examine(kept.model, kept.tokenizer)
    assert found["n"] == 1024
    assert found.keys() == kept.facts["exam"].keys()
