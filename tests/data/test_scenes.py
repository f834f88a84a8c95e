"""The made world of pictures: what is said of a picture is what its pixels show."""

import numpy as np
import pytest
import torch

from minillm.data import (
    BACKGROUNDS,
    COLOURS,
    SHAPES,
    balanced,
    hard_negatives,
    held_out_pairs,
    read_scene,
    read_scenes,
    scenes,
    shapes,
    swapped_captions,
)
from minillm.data.scenes import PALETTE, mask
from minillm.data.scenes_texts import caption


def test_a_scene_does_not_depend_on_how_many_there_are():
    few, many = (scenes(n, seed=4, objects=(1, 4), noise=0.1) for n in (5, 40))
    assert np.array_equal(few.images, many.images[:5])
    assert few.objects == many.objects[:5]
    assert few.captions_ko == many[:5].captions_ko
    assert few.questions == many[np.arange(5)].questions


def test_pixels_are_palette_colours_in_the_boxes():
    made = scenes(50, objects=(1, 9), seed=1)
    for image, things, ground in zip(made.images, made.objects, made.backgrounds):
        other = np.abs(image - PALETTE[len(COLOURS) + BACKGROUNDS.index(ground)][:, None, None]).sum(0) > 0
        for thing in things:
            x0, y0, x1, y1 = thing.box
            assert np.array_equal(other[y0:y1, x0:x1], mask(thing.shape, x1 - x0))
            other[y0:y1, x0:x1] = False
        assert not other.any()


@pytest.mark.parametrize("diameter", [5, 7, 10, 22, 66])
def test_no_two_shapes_look_alike(diameter):
    assert len({mask(shape, diameter).tobytes() for shape in SHAPES}) == len(SHAPES)


def test_held_out_pairs_are_absent_from_training_and_alone_in_held_out():
    held = set(held_out_pairs())
    train = {(t.colour, t.shape) for row in scenes(4000, 16, split="train").objects for t in row}
    other = {(t.colour, t.shape) for row in scenes(600, 16, split="held_out").objects for t in row}
    assert len(held) == 12
    assert other == held
    assert len(train) == 52
    assert not train & held
    assert {c for c, _ in train} == set(COLOURS)
    assert {s for _, s in train} == set(SHAPES)


@pytest.mark.parametrize(
    ("size", "noise", "least"), [(32, 0.0, 0.995), (16, 0.0, 0.995), (32, 0.1, 0.98), (16, 0.1, 0.97)]
)
def test_the_reader_reads_what_was_drawn(size, noise, least):
    made = scenes(500, size, seed=9, noise=noise)
    right = [
        read.objects == things and read.background == ground
        for read, things, ground in zip(read_scenes(made.images), made.objects, made.backgrounds)
    ]
    assert np.mean(right) >= least


def test_the_reader_takes_tensors_of_any_float_and_none_at_all():
    made = scenes(3, seed=1)
    assert read_scenes(torch.from_numpy(made.images).bfloat16()) == read_scenes(made.images)
    assert read_scenes(made.images[:0]) == []


def test_the_reader_finds_how_many_there_are():
    made = scenes(100, objects=(1, 4), seed=2)
    for read, things in zip(read_scenes(made.images, "any"), made.objects):
        assert read.objects == sorted(things, key=lambda thing: (thing.row, thing.column))


def test_hard_negatives_differ_from_the_caption_and_from_each_other():
    scene = scenes(3, grid=2)[1]
    wrong = hard_negatives(scene)
    assert len(set(wrong)) == len(wrong) == 7 + 7 + 1 + 3 + 3
    assert scene.captions[0] not in wrong


def test_answers_are_balanced_within_each_kind():
    kinds = {}
    for row in balanced(scenes(300, objects=(1, 4)).questions):
        for question in row:
            kinds.setdefault(question.kind, []).append(question.answer)
    assert len(kinds) == 10
    for answers in kinds.values():
        assert len({answers.count(answer) for answer in answers}) == 1 < len(set(answers))


def test_korean_captions_take_the_right_particles():
    made = scenes(200, objects=(2, 3), seed=3)
    things = [row[:2] for row in made.objects]
    texts = " ".join(caption(row, "black", "short", "ko") for row in things)
    assert "원과" in texts
    assert "고리와" in texts
    assert "원와" not in texts
    assert "고리과" not in texts


def test_korean_captions_are_whole_and_have_one_place_particle():
    circle = scenes(1, seed=0).objects[0][0]._replace(shape="circle", colour="red", size="small", grid=1)
    corner = circle._replace(grid=2, row=0, column=0)
    star = corner._replace(shape="star", colour="green", size="large", row=1, column=1)
    assert [caption([circle], "black", style, "ko") for style in range(4)] == [
        "검은색 배경에 작은 빨간 원이 있다",
        "배경은 검은색이고 작은 빨간 원이 보인다",
        "검은색 배경에 작은 빨간 원을 그린 그림",
        "작은 빨간 원이 있는 검은색 배경",
    ]
    assert [caption([corner, star], "grey", style, "ko") for style in range(4)] == [
        "회색 배경의 왼쪽 위에 작은 빨간 원이, 오른쪽 아래에 큰 초록색 별이 있다",
        "배경은 회색이고 왼쪽 위에 작은 빨간 원이, 오른쪽 아래에 큰 초록색 별이 보인다",
        "회색 배경의 왼쪽 위에 작은 빨간 원을, 오른쪽 아래에 큰 초록색 별을 그린 그림",
        "왼쪽 위에 작은 빨간 원이, 오른쪽 아래에 큰 초록색 별이 있는 회색 배경",
    ]


def test_shapes_are_scenes_of_one_thing():
    some, more = shapes(5, seed=3), shapes(8, seed=3)
    np.testing.assert_array_equal(some.images, more.images[:5])
    for image, objects in zip(more.images, more.objects):
        assert len(objects) == 1
        assert read_scene(image).objects[0].shape == objects[0].shape


def test_what_is_drawn_from_may_be_any_listing():
    given = {"shapes": ["star", "ring"], "colours": ["red"], "sizes": ["small"], "backgrounds": ["black"]}
    lazy = {name: (one for one in values) for name, values in given.items()}
    assert np.array_equal(scenes(5, **given).images, scenes(5, **lazy).images)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"size": 15}, "size"),
        ({"objects": 5, "grid": 2}, "grid"),
        ({"size": 16, "grid": 2}, "10 pixels"),
        ({"split": "test"}, "split"),
        ({"colours": ["mauve"]}, "colours"),
        ({"noise": -1}, "noise"),
        ({"objects": (3, 2)}, "most objects"),
    ],
)
def test_bad_input_is_named(bad, said):
    with pytest.raises(ValueError, match=said):
        scenes(2, **bad)


@pytest.mark.parametrize(
    "bad", [np.zeros((1, 1, 32, 32)), np.full((1, 3, 32, 32), 2.0), np.full((1, 3, 16, 16), np.nan)]
)
def test_the_reader_refuses_what_is_no_picture(bad):
    with pytest.raises(ValueError, match="images must"):
        read_scenes(bad)


def test_swapped_captions_say_the_same_words_of_the_wrong_thing():
    made, swapped, seen = scenes(60, 32, 21, 2, 2), 0, set()
    for i in range(60):
        scene = made[i]
        first, second = scene.objects[0]
        for lang, own in (("en", scene.captions[0]), ("ko", scene.captions_ko[0])):
            texts = swapped_captions(scene, lang)
            assert set(texts) == {
                name for name in ("colour", "shape", "size") if getattr(first, name) != getattr(second, name)
            } | {"place"}  # two things never share a cell
            if lang == "en":
                for text in texts.values():
                    articles = {"a", "an"}  # "an orange" and "a red": the article goes with the word
                    said, true = (sorted(w for w in one.split() if w not in articles) for one in (text, own))
                    assert said == true
                    assert text != own
                    swapped += 1
            seen |= set(texts)
    assert seen == {"colour", "shape", "size", "place"}
    assert swapped > 150
    with pytest.raises(ValueError, match="two things"):
        swapped_captions(scenes(1, 32, 0, 1, 2))


def test_scenes_without_those_that_are_known():
    few, many = scenes(5, 32, 3), scenes(40, 32, 3)  # the first five are the same
    left = many.without(set(few.fingerprints))
    assert len(left) == 35
    assert (left.images == many.images[5:]).all()
    assert not {image.tobytes() for image in left.images} & {image.tobytes() for image in few.images}
    assert len(many.without(many.fingerprints)) == 0
