"""The CLIP that comes with minillm: it is what its script makes, and finds what its facts say."""

import numpy as np
import pytest
import torch

from minillm.course.small.clip import (
    SHORT,
    WHOLE,
    CLIPRecipe,
    as_caption,
    as_pixels,
    draw_captions,
    draw_forms,
    make_pairs,
    new_clip,
    small_clip,
    train_clip,
    world,
)
from minillm.course.small.clip_exam import distinct, examine, ranks, recalls
from minillm.data import held_out_pairs, prove_held_out
from minillm.data.scenes import SHAPES
from minillm.models import caption_vectors, picture_vectors


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


def test_no_picture_of_the_exam_was_trained_on(kept):
    recipe = CLIPRecipe(**kept.facts["recipe"])
    exam, known = distinct(200, "train", 9_000), world(recipe.pictures, 1 + recipe.seed)
    proof = prove_held_out(
        [one.tobytes() for one in exam.images], [one.tobytes() for one in known.images], what="picture"
    )
    assert proof.items == 200


def test_ranks_by_hand():
    u = np.eye(3, dtype=np.float32)
    v = np.array([[0.8, 0.6, 0], [0.6, 0.8, 0], [0.9, 0, np.sqrt(0.19)]], np.float32)
    # row 0 of u sees .8, .6, .9: its own is second; row 1 sees .6, .8, 0; row 2 sees 0, 0, .44
    assert ranks(u, v).tolist() == [1, 0, 0]


def test_each_attribute_is_found_by_short_prompts_too(kept):
    """Chance is .02 (colour and shape), .125 (shape, colour), .5 (size), .25 (place, background)."""
    for said, share in kept.facts["exam"]["short_prompts_precision_at_10"].items():
        assert share > 0.9, said


def test_a_word_alone_is_asked_for_as_a_caption_would(kept):
    """Of the 10 pictures nearest to "heart": how many hold one? Chance is an eighth."""
    model, tokenizer, _ = kept
    exam = distinct(400, "train", 9_000)
    asked = [as_caption(shape) for shape in SHAPES]
    assert as_caption("orange star") == "an orange star"
    assert [as_caption(text) for text in ("", "a red star", "하트", "7")] == ["", "a red star", "하트", "7"]
    vectors = picture_vectors(model, as_pixels(exam.images))
    nearest = np.argsort(-(caption_vectors(model, tokenizer, asked) @ vectors.T), 1)[:, :10]
    right = [exam.objects[i][0].shape == shape for shape, row in zip(SHAPES, nearest) for i in row]
    assert np.mean(right) > 0.9


def test_captions_say_what_their_form_says():
    world_, recipe = world(10, 3), CLIPRecipe(seed=1)
    rows = draw_captions(world_, recipe)
    assert all(len(row) == len(WHOLE + SHORT) for row in rows)
    of_shapes = [row[[said for said, *_ in WHOLE + SHORT].index(("shape",))] for row in rows]
    assert all(one.shape in text and one.colour not in text
               for text, things in zip(of_shapes, world_.objects) for one in things)  # fmt: skip


def test_forms_are_drawn_by_their_shares():
    generator = torch.Generator().manual_seed(0)
    drawn = np.array([draw_forms(generator) for _ in range(4000)])
    for column, forms, first in ((0, WHOLE, 0), (1, SHORT, len(WHOLE))):
        shares = [share for *_, share in forms]
        assert sum(shares) == pytest.approx(1)
        found = np.bincount(drawn[:, column] - first, minlength=len(forms)) / len(drawn)
        assert np.abs(found - shares).max() < 0.04


@pytest.mark.soak
def test_a_short_prefix_goes_the_recorded_way(kept):
    recipe = CLIPRecipe(**kept.facts["recipe"])
    pairs, tokenizer, _ = make_pairs(recipe)
    assert tokenizer.to_json() == kept.tokenizer.to_json()
    every = recipe.steps // 100
    losses = train_clip(new_clip(tokenizer, recipe), pairs, recipe, every + 1)
    assert abs(losses[0] - kept.facts["losses"][0]) < 0.02
    assert abs(losses[every] - kept.facts["losses"][1]) < 0.3


@pytest.mark.soak
def test_examination_has_every_figure(kept):
    found = examine(kept.model, kept.tokenizer)
    assert found["n"] == 1024
    assert found.keys() == kept.facts["exam"].keys()
