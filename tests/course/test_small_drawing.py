"""Prompts read, drawn and read back: judged by the world's own truth and by the oracle."""

import pytest
import torch

from minillm.course.small.clip import small_clip
from minillm.course.small.diffusion import ATTRIBUTES, attributes_right, wishes
from minillm.course.small.drawing import (
    ANY,
    STEMS,
    all_wishes,
    complete,
    draw,
    prompt,
    prompt_of,
    read_apart,
    read_whole,
    wish_of,
)
from minillm.data import KOREAN, caption, read_scene, scenes
from minillm.data.scenes_partial import partial_caption
from tests.helpers import soak_count


def test_every_wording_of_the_world_is_read_right():
    world = scenes(soak_count(2000), 32, seed=8)
    truth = wishes(world).tolist()
    for style in range(4):
        for lang in ("en", "ko"):
            said = [caption(o, g, style, lang) for o, g in zip(world.objects, world.backgrounds)]
            assert [list(wish_of(text)) for text in said] == truth
    for place, attribute in enumerate(ATTRIBUTES):
        for lang in ("en", "ko"):
            said = [
                partial_caption(o, g, [attribute], lang) for o, g in zip(world.objects, world.backgrounds)
            ]
            for text, row in zip(said, truth):
                assert wish_of(text) == tuple(n if i == place else ANY for i, n in enumerate(row))


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("A BIG violet star, on gray!", (4, 6, 1, 2)), ("a small red red circle", (0, 0, 0, ANY)),
        ("작은빨간원을 검은배경에", (0, 0, 0, 0)), ("큰 노랑 세모가 있는 하얀 바탕", (3, 2, 1, 1)),
        ("동그라미 하나", (ANY, 0, ANY, ANY)), ("녹색 네모", (1, 1, ANY, ANY)),
        ("하늘색 하트와 하트", (6, 7, ANY, ANY)),
        ("노랗고 큰 별", (3, 6, 1, ANY)), ("작고 파란 네모난 도형", (2, 1, 0, ANY)),
        ("크고 동그란 핑크색", (7, 0, 1, ANY)),
        ("하얀 배경에서 빨갛고 작은 원형", (0, 0, 0, 1)), ("a round orange thing", (5, 0, ANY, ANY)),
        ("배경은 회색이고 조그만 분홍빛 별이다", (7, 6, 0, 2)), ("a donut 그리고 빨강", (0, 5, ANY, ANY)),
    ],
)  # fmt: skip
def test_other_words_for_the_same(text, wish):
    assert wish_of(text) == wish


def test_what_cannot_be_read_is_refused_with_the_known_words():
    for text in ("", "a hexagon", "원숭이", "공원", "하늘", "redder", "!!!"):
        with pytest.raises(ValueError, match=r"colour: red, green.*background: black"):
            wish_of(text)
    for text, what in (("red and blue", "one colour"), ("원과 별", "one shape"), ("big small", "one size")):
        with pytest.raises(ValueError, match=what):
            wish_of(text)
    with pytest.raises(ValueError, match="must be a str"):
        wish_of(3)
    assert set(STEMS) == {value for values in ATTRIBUTES.values() for value in values} <= set(KOREAN)


def test_prompts_and_wishes_are_one_to_one():
    every = all_wishes().tolist()
    assert len(every) == len({tuple(one) for one in every}) == 512
    for lang in ("en", "ko"):
        assert [list(wish_of(prompt(wish, lang))) for wish in every] == every
    for wrong in ((8, 0, 0, 0), (0, 0, 0), (-1, 0, 0, 0), (0, 0, 0, 1.7), "abcd", None):
        with pytest.raises(ValueError, match=r"of a wish must be|wish must be 4 numbers"):
            prompt(wrong)
    for wrong in ((9, ANY, 0, 0), (ANY,), (-2, 0, 0, 0)):
        with pytest.raises(ValueError, match=r"of a wish must be|wish must be 4 numbers"):
            complete(wrong)
    with pytest.raises(ValueError, match="model must be a UNet, got 3"):
        draw("red", model=3)
    with pytest.raises(ValueError, match="clip must be a SmallCLIP"):
        read_apart(scenes(1, 32, seed=1).images, clip="x")


def test_a_drawn_picture_shows_what_was_said():
    texts = [
        "a large red circle on a black background",
        "흰색 배경에 작은 파란 사각형이 있다",
        "큰 노란 십자가, 갈색 배경",
    ]
    right = torch.stack(
        [attributes_right(draw(t, steps=10)[None], torch.tensor([wish_of(t)]))[0] for t in texts]
    )
    assert right.float().mean() > 0.8  # of 12
    picture = draw("초록색", seed=3, steps=10)  # the rest is the seed's choice
    assert picture.shape == (3, 16, 16)
    assert 0 <= float(picture.min()) <= float(picture.max()) <= 1
    assert read_scene(picture).objects[0].colour == "green"
    assert len({complete((1, ANY, 0, ANY), seed) for seed in range(300)}) == 32
    assert complete((1, 2, 0, 3)) == (1, 2, 0, 3)
    assert (draw(texts[0], steps=3) == draw(texts[0], steps=3)).all()
    assert (draw(texts[0], 1, steps=3) != draw(texts[0], steps=3)).any()


def test_a_described_picture_has_its_colour_and_background():
    world, clip = scenes(100, 32, seed=6_000), small_clip()
    truth = wishes(world)
    for read in (read_whole, read_apart):
        right = (read(world.images, clip) == truth).float().mean(0)
        assert right[0] > 0.9, read
        assert right[3] > 0.9, read
    text = prompt_of(world.images[0], "ko", clip)
    assert wish_of(text) == tuple(read_whole(world.images[:1], clip)[0].tolist())
    with pytest.raises(ValueError, match="lang"):
        prompt_of(world.images[0], "de", clip)
    with pytest.raises(ValueError, match="picture 0 must be floats"):
        prompt_of(world.images, clip=clip)
