"""From words to a picture and back, with the course's kept models: a prompt in English or Korean, and one thing.

    wish_of("작은 빨간 원, 검은 배경") = (0, 0, 0, 0)      numbers of ATTRIBUTES in small/diffusion.py; -1: not said
    draw(text)        -> the U-Net's picture (3, 16, 16)
    prompt_of(picture) = the whole prompt, of 512, whose text vector is nearest to the picture's (CLIP)

The reader of prompts knows a list of words, no grammar: "not red" is red, and a word that is not in the list is passed
over. A prompt without any word of the list, or with two colours, is refused; what it leaves open, the seed decides.

Book 12.5.3 GPT-4o로 이미지 설명 생성하기, 12.5.6 DALL-E 3로 이미지 생성. Left out: several things, places.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minillm._checks import check_choice, check_int, check_text, describe, is_listing
from minillm.course.small.clip import SmallCLIP, small_clip
from minillm.course.small.diffusion import ATTRIBUTES, draw_wishes, small_diffusion
from minillm.data import SceneObject, caption
from minillm.data.scenes_partial import partial_caption
from minillm.models import PictureProcessor, UNet, caption_vectors, picture_vectors, zero_shot

ANY = -1  # an attribute that a prompt leaves to the model
Wish = tuple[int, ...]  # colour, shape, size, background

ALSO = {  # other words for the same
    **{"large": ("big",), "small": ("little", "tiny"), "grey": ("gray",), "purple": ("violet",)},
    **{"ring": ("donut",), "square": ("box",), "circle": ("round",)},
}
STEMS = {  # Korean words without 색 and particles
    "red": ("빨간", "빨강", "빨갛고", "붉은", "붉고"),
    "green": ("초록", "녹색"),
    "blue": ("파란", "파랑", "파랗고", "푸른", "푸르고"),
    "yellow": ("노란", "노랑", "노랗고"),
    "purple": ("보라",),
    "orange": ("주황", "오렌지"),
    "cyan": ("하늘색",),
    "pink": ("분홍", "핑크"),
    "black": ("검은", "검고", "검정", "까만", "까맣고"),
    "white": ("흰", "하얀", "하얗고", "하양"),
    "grey": ("회색",),
    "brown": ("갈색",),
    "circle": ("원", "원형", "동그라미", "동그란", "동그랗고", "둥근", "둥글고"),
    "square": ("사각형", "정사각형", "네모", "네모난"),
    "triangle": ("삼각형", "세모", "세모난"),
    **{"diamond": ("마름모", "다이아몬드"), "cross": ("십자가", "십자"), "ring": ("고리",), "star": ("별",)},
    "heart": ("하트",),
    "small": ("작은", "작고", "조그만"),
    "large": ("큰", "크고", "커다란", "커다랗고"),
}
BESIDE = ("배경", "바탕", "그림", "모양")  # may be part of a Korean word, and say nothing
ENDINGS = frozenset(
    (
        "",
        *"이가은는을를과와의에도만로",
        "으로",
        "에는",
        "이고",
        "이며",
        "하나",
        "하나가",
        "하나를",
        "인",
        "이다",
        "에서",
        "위에",
        "위의",
    )
)
_PLACES = {
    value: (place, number)
    for place, values in enumerate(ATTRIBUTES.values())
    for number, value in enumerate(values)
}
_ENGLISH = {word: name for name in _PLACES for word in (name, *ALSO.get(name, ()))}
_KOREAN = {stem: name for name, stems in STEMS.items() for stem in stems} | dict.fromkeys(BESIDE, "")


# --- words ---


def wish_of(text: str) -> Wish:
    """The attribute numbers (colour, shape, size, background) that a prompt says; ANY (-1) for one that it leaves out.

    Raises ValueError for a prompt without any known word (the message lists them) or with two colours, shapes, ....
    """
    wish = [ANY] * len(ATTRIBUTES)
    for name in known_words(text):
        place, number = _PLACES[name]
        check_one(text, wish[place], place, number)
        wish[place] = number
    check_any(text, wish)
    return tuple(wish)


def check_one(text: str, before: int, place: int, number: int) -> None:
    """ValueError where the prompt has named another value of this attribute before."""
    if before not in (ANY, number):
        attribute, values = list(ATTRIBUTES.items())[place]
        came = f"{values[before]} and {values[number]}"
        raise ValueError(f"a prompt must name one {attribute}, got {came} in {text!r:.80}")


def check_any(text: str, wish: list[int]) -> None:
    """ValueError, with the words that are known, where the prompt has none of them."""
    if wish == [ANY] * len(wish):
        known = "; ".join(f"{name}: {', '.join(values)}" for name, values in ATTRIBUTES.items())
        raise ValueError(f"a prompt must say something of one thing ({known}), got {text!r:.80}")


def known_words(text: str) -> list[str]:
    """The values of ATTRIBUTES that a text in English or Korean names, in its order."""
    text = unicodedata.normalize("NFC", check_text("text", text)).lower()
    found = []
    for word in re.findall(r"[a-z]+|[가-힣]+", text):
        found += [_ENGLISH[word]] if word in _ENGLISH else _stems(word)
    return found


def _stems(word: str) -> list[str]:
    """What a Korean word is made of, stem by stem: 빨간원을 -> red, circle; nothing of a word that is not used up."""
    found = []
    while (stem := max((s for s in _KOREAN if word.startswith(s)), key=len, default="")) != "":
        found.append(_KOREAN[stem])
        word = word.removeprefix(stem).removeprefix("색").removeprefix("빛")
    return [name for name in found if name] if word in ENDINGS else []


def prompt(wish: Any, lang: str = "en") -> str:
    """The whole sentence of a wish of four numbers: "a small red circle on a black background"."""
    colour, shape, size, background = (v[n] for v, n in zip(ATTRIBUTES.values(), check_wish(wish, 0)))
    return caption([SceneObject(shape, colour, size, 0, 0, (0, 0, 0, 0))], background, 0, lang)


def check_wish(wish: Any, least: int) -> Wish:
    """A wish as four int; ValueError for another number of them, and for one below `least` or too large."""
    tops = [*map(len, ATTRIBUTES.values())]
    if not is_listing(wish) or len(numbers := list(wish)) != len(tops):
        raise ValueError(f"wish must be {len(tops)} numbers below {tops}, got {describe(wish)}")
    return tuple(
        check_int(f"the {name} of a wish", one, least, top - 1)
        for name, one, top in zip(ATTRIBUTES, numbers, tops)
    )


def all_wishes() -> Tensor:
    """Every wish there is, (512, 4)."""
    return torch.tensor(list(itertools.product(*(range(len(values)) for values in ATTRIBUTES.values()))))


# --- pictures ---


def complete(wish: Wish, seed: int = 0) -> Wish:
    """The wish with a number drawn for everything that it leaves open.

    The U-Net has a "no wish" for each attribute (ANY), but was taught to forget all four at once or none: of 60 wishes
    without a size, 40 got another colour than the one they named.
    """
    rng = np.random.default_rng([check_int("seed", seed, 0), 12])
    drawn = [int(rng.integers(len(values))) for values in ATTRIBUTES.values()]
    return tuple(number if said == ANY else said for said, number in zip(check_wish(wish, ANY), drawn))


def draw(
    text: str, seed: int = 0, guidance: float = 1.0, steps: int = 25, model: UNet | None = None
) -> Tensor:
    """One picture (3, 16, 16) in 0..1 of a prompt, by the kept U-Net; what the prompt leaves open, the seed decides.

    ValueError as `wish_of`.
    """
    if not isinstance(model, UNet | None):
        raise ValueError(f"model must be a UNet, got {describe(model)}")
    wish = torch.tensor([complete(wish_of(text), seed)])
    return draw_wishes(model or small_diffusion(), wish, guidance, steps, seed)[0]


def prompt_of(picture: Any, lang: str = "en", clip: SmallCLIP | None = None) -> str:
    """What a picture (3, H, W) of one thing shows, as a whole prompt, by the kept CLIP."""
    check_choice("lang", lang, ("en", "ko"))
    return prompt(read_whole([picture], clip)[0], lang)


def for_clip(pictures: Any) -> Tensor:
    """Pictures (N, 3, H, W) of values in 0..1 as the kept CLIP takes them."""
    return PictureProcessor(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))(pictures)


def opened(clip: SmallCLIP | None) -> SmallCLIP:
    """The CLIP that was given, or the kept one."""
    if not isinstance(clip, SmallCLIP | None):
        raise ValueError(f"clip must be a SmallCLIP, got {describe(clip)}")
    return clip or small_clip()


def read_whole(pictures: Any, clip: SmallCLIP | None = None) -> Tensor:
    """The wishes (N, 4) of N pictures: of all 512 whole prompts the nearest one. All attributes are read together."""
    pixels, (model, tokenizer, _) = for_clip(pictures), opened(clip)
    wishes = all_wishes()
    texts = caption_vectors(model, tokenizer, [prompt(wish) for wish in wishes])  # (512, D)
    nearest = (picture_vectors(model, pixels) @ texts.T).argmax(1)
    return wishes[torch.from_numpy(nearest)]


def read_apart(pictures: Any, clip: SmallCLIP | None = None) -> Tensor:
    """The wishes (N, 4) of N pictures, zero-shot, attribute by attribute: "a red thing", "a circle", ..."""
    pixels, (model, tokenizer, _) = for_clip(pictures), opened(clip)
    answers = []
    for attribute, values in ATTRIBUTES.items():
        names = [_said(attribute, value) for value in values]
        answers.append(zero_shot(model, tokenizer, pixels, names, ["{}"]).argmax(1))
    return torch.from_numpy(np.stack(answers, 1))


def _said(attribute: str, value: str) -> str:
    """One attribute in words: "a thing on a black background"."""
    names = {name: values[0] for name, values in ATTRIBUTES.items()} | {attribute: value}
    thing = SceneObject(names["shape"], names["colour"], names["size"], 0, 0, (0, 0, 0, 0))
    return partial_caption([thing], names["background"], [attribute])
