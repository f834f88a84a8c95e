"""The LLaVA that comes with minillm: it is what its script makes, and answers as its facts say."""

import math

import pytest
import torch

from minillm.course.small.clip import as_pixels, small_clip
from minillm.course.small.llava import (
    LLaVARecipe,
    ask_picture,
    board,
    examples,
    llava_comparisons,
    small_llava,
    talk,
    train_llava,
    training_data,
)
from minillm.course.small.llava_exam import answers_right, by_kind, make_exam
from minillm.data import held_out_pairs, prove_held_out
from minillm.training import look_once


@pytest.fixture(scope="module")
def kept():
    return small_llava()


def test_recorded_shares_hold_within_four_sigma(kept):
    exam = make_exam(120, 9_100)
    states = look_once(kept.model, as_pixels(exam.world.images))
    found = by_kind(exam, answers_right(kept.model, kept.tokenizer, states, exam))
    assert len(found) == 10
    for kind, marks in found.items():
        share = kept.facts["exam"]["en"][kind]["right"]
        sigma = math.sqrt(max(share * (1 - share), 0.02) / len(marks))
        assert abs(sum(marks) / len(marks) - share) < 4 * sigma, (kind, len(marks))


def test_it_is_the_picture_that_counts(kept):
    """With the pictures of other questions it is about as often right as a blind model."""
    exam = make_exam(120, 9_100)
    states = look_once(kept.model, as_pixels(exam.world.images)).roll(1, 0)
    found = by_kind(exam, answers_right(kept.model, kept.tokenizer, states, exam))
    assert sum(found["background"]) / len(found["background"]) < 0.5
    assert kept.facts["exam"]["en"]["background"]["right"] > 0.9


def test_it_looks_through_the_kept_clip(kept):
    """A CLIP that is made anew asks for a LLaVA that is made anew."""
    theirs = dict(small_clip().model.vision.named_parameters())
    pairs = list(kept.model.vision.named_parameters())
    assert len(pairs) == len(theirs) > 10
    for name, weight in pairs:
        assert torch.equal(weight, theirs[name]), name


def test_marks_are_what_is_written(kept):
    exam = make_exam(6, 9_200)
    states = look_once(kept.model, as_pixels(exam.world.images))
    for lang in ("en", "ko"):
        marks = answers_right(kept.model, kept.tokenizer, states, exam, lang)
        for (place, one), mark in list(zip(exam.asked, marks, strict=True))[:12]:
            question, answer = (one.text, one.answer) if lang == "en" else (one.text_ko, one.answer_ko)
            written = ask_picture(kept, torch.from_numpy(exam.world.images[place]), question)
            assert (written == answer) == mark, (question, written, answer)


@pytest.mark.parametrize(
    "picture",
    [
        torch.full((3, 32, 32), 100.0),
        torch.zeros(3, 16, 32),
        torch.zeros(1, 3, 32, 32),
        torch.full((3, 32, 32), torch.nan),
    ],
)
def test_refuses_what_is_no_picture_of_values_0_to_1(kept, picture):
    with pytest.raises(ValueError, match="of values 0 to 1"):
        ask_picture(kept, picture, "What colour is the background?")


def test_the_exam_leaves_out_what_taught():
    taught = board(400, 5)
    exam = make_exam(400, 5, taught=taught)
    assert len(exam.world) == 0
    both = set(taught.fingerprints) | set(board(300, 4).fingerprints)
    assert len(make_exam(300, 4, taught=both).world) == 0
    assert (
        prove_held_out(set(make_exam(300, 7, taught=both).world.fingerprints), both, what="picture").items
        > 200
    )
    exam = make_exam(200, 6, "held_out", taught)
    pairs = {(one.colour, one.shape) for things in exam.world.objects for one in things}
    assert pairs <= set(held_out_pairs())
    assert prove_held_out(set(exam.world.fingerprints), set(taught.fingerprints), what="picture").items > 150


def test_examples_for_a_blind_model_hold_no_picture(kept):
    world = board(20, 3)
    talks = talk(world, LLaVARecipe())
    image = kept.tokenizer.token_to_id("<image>")
    seeing, blind = (examples(kept.tokenizer, talks, 16, images) for images in (1, 0))
    for a, b in zip(seeing, blind, strict=True):
        assert a["input_ids"] == [image] * 16 + b["input_ids"]
        assert a["labels"] == [-100] * 16 + b["labels"]
        assert "picture_states" not in b
    tiles = examples(kept.tokenizer, talks, 16, 10)
    assert tiles[3]["picture_states"] == list(range(30, 40))
    assert tiles[3]["input_ids"].count(image) == 160


def test_comparisons_are_of_pictures_that_taught_nothing():
    found = llava_comparisons()
    rows = [
        row["all"] for seed in found["stages"].values() for name, row in seed.items() if "against" in name
    ]
    rows += [seed[name][size]["all"] for seed in found["tiles"].values()
             for name in ("equal steps", "equal seconds") for size in ("small", "large")]  # fmt: skip
    assert len(rows) >= 6
    for row in rows:
        won = row["shares"][0] - row["shares"][1]
        assert abs(won - (row["wins"] - row["losses"]) / row["n"]) < 1e-3
        assert row["interval"][0] <= won + 1e-3
        assert won - 1e-3 <= row["interval"][1]
    assert all("none in the training" in seed["proof"] for seed in found["stages"].values())


@pytest.mark.soak
def test_a_short_prefix_goes_the_recorded_way(kept):
    recipe = LLaVARecipe(**kept.facts["recipe"])
    every = max(1, recipe.steps // 25)
    _, tokenizer, losses, _, _ = train_llava(recipe, until=every + 1)
    assert tokenizer.to_json() == kept.tokenizer.to_json()
    assert abs(losses[0] - kept.facts["losses"][0]) < 0.02
    assert abs(losses[every] - kept.facts["losses"][1]) < 0.3


def test_the_words_of_the_data_are_whole_tokens():
    """Of nearly all: a question is a handful of tokens in both languages."""
    world, talks, tokenizer = training_data(LLaVARecipe(pictures=600))
    assert len(world) == len(talks) == 600
    words = [text for turns in talks for asked, _ in turns for text in asked.split()]
    tokens = sum(len(tokenizer.encode(f" {word}")) for word in words)
    assert tokens < 1.6 * len(words)
