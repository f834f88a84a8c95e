"""A world of pictures made by us: coloured shapes on a plain ground, with everything that is true of them.

    scene i of seed s:  background; for each object shape, colour, size, cell of a grid, place in the cell, box
    image = palette[background, or colour where the shape's mask is], plus noise, cut to 0..1

Book chapter 14: the pictures every lesson of it works on. Peer: CLEVR (Johnson et al. 2017), whose idea
(a made world has exact answers) is kept, and whose ray tracing is not. Masks are made in whole numbers, so a seed
gives the same pixels on any CPU; scene i is the same however many are asked for. 12 of the 64 pairs of colour and
shape are held out (`held_out_pairs`), while every colour and every shape is still seen. Captions: scenes_texts.py,
questions: scenes_questions.py, reading a picture back: scenes_reader.py. Left out: overlap, rotation, soft edges.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache, cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minillm._checks import check_choice, check_int, check_number, describe, is_listing

if TYPE_CHECKING:
    from minillm.data.scenes_questions import SceneQuestion

SHAPES = ("circle", "square", "triangle", "diamond", "cross", "ring", "star", "heart")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "pink")
SIZES = ("small", "large")
BACKGROUNDS = ("black", "white", "grey", "brown")
RGB = {  # of 255
    **{"red": (230, 25, 25), "green": (25, 180, 50), "blue": (35, 60, 240), "yellow": (250, 230, 25)},
    **{"purple": (140, 0, 205), "orange": (255, 140, 10), "cyan": (50, 215, 240), "pink": (255, 115, 180)},
    **{"black": (0, 0, 0), "white": (255, 255, 255), "grey": (128, 128, 128), "brown": (100, 60, 25)},
}
PALETTE = np.array([RGB[name] for name in (*COLOURS, *BACKGROUNDS)], np.float32) / np.float32(255)  # (12, 3)
SMALLEST_CELL = 10  # pixels: below, two shapes of five pixels are the same mask
# The corners of a star in a square of 1000, clockwise from its tip: tan and cos of 36 degrees, rounded once for ever
STAR = (
    *((500, 0), (618, 363), (1000, 363), (691, 587), (809, 950)),
    *((500, 725), (191, 950), (309, 587), (0, 363), (382, 363)),
)


class SceneObject(NamedTuple):
    """One thing in a picture. row, column: its cell of a grid x grid board; box: x0, y0, x1, y1, ends excluded."""

    shape: str
    colour: str
    size: str
    row: int
    column: int
    box: tuple[int, int, int, int]
    grid: int = 1


def held_out_pairs() -> tuple[tuple[str, str], ...]:
    """The 12 of 64 (colour, shape) pairs that split="train" never draws; each colour and shape is in 1 to 3 of them."""
    # 3c runs through all eight shapes: one pair of every colour and shape, and a second one of every other colour
    pairs = [(c, (3 * c + 1) % 8) for c in range(8)] + [(c, (3 * c + 4) % 8) for c in range(0, 8, 2)]
    return tuple((COLOURS[c], SHAPES[s]) for c, s in pairs)


def diameters(cell: int) -> tuple[int, int]:
    """Pixels across of a small and of a large object in a cell of so many pixels: about 7/16 and 11/16 of it."""
    small = max(5, 7 * cell // 16)
    return small, max(small + 2, 11 * cell // 16)


@cache
def mask(shape: str, diameter: int) -> NDArray[np.bool_]:
    """Which pixels of a square (d, d) a shape covers, in whole numbers: x, y run from -(d-1) to d-1 in steps of 2."""
    d = diameter
    x, y = np.meshgrid(np.arange(1 - d, d, 2), np.arange(1 - d, d, 2))  # (d, d); a pixel is 2 wide
    disc = x * x + y * y <= d * d
    if shape == "circle":
        out = disc
    elif shape == "square":
        out = np.ones((d, d), bool)
    elif shape == "triangle":
        out = 2 * np.abs(x) <= y + d
    elif shape == "diamond":
        out = np.abs(x) + np.abs(y) <= d
    elif shape == "cross":
        out = 3 * np.minimum(np.abs(x), np.abs(y)) <= d - 1
    elif shape == "ring":
        out = disc & (4 * (x * x + y * y) >= d * d)
    elif shape == "star":
        out = _inside(STAR, 500 * (x + d), 500 * (y + d), d)
    else:  # two discs side by side, and a point below
        bumps = (2 * np.abs(x) - d) ** 2 + (2 * y + d) ** 2 <= d * d
        out = (
            bumps
            | ((2 * y >= -d) & (np.abs(x) <= (d - y) * 2 // 3) & disc)
            | ((y >= 0) & (np.abs(x) <= d - y))
        )
    out.flags.writeable = False
    return out


def _inside(corners: Sequence[tuple[int, int]], x: NDArray, y: NDArray, scale: int) -> NDArray[np.bool_]:
    """Which points lie inside a polygon: a ray to the right crosses its sides an odd number of times."""
    out = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(corners, (*corners[1:], corners[0])):
        x0, y0, x1, y1 = scale * x0, scale * y0, scale * x1, scale * y1
        between = (y0 > y) != (y1 > y)
        left = (x - x0) * (y1 - y0) < (x1 - x0) * (y - y0)
        out ^= between & (left if y1 > y0 else ~left)
    return out


class Scenes:
    """Pictures with what is true of them; `len`, and `[i]`, slices and index arrays give Scenes again.

    images: (N, 3, S, S) float32 in 0..1. objects: one list a picture. backgrounds: names. keys: (N,) int64, the
    random number that picks a scene's wording and its questions.
    """

    def __init__(
        self,
        images: NDArray[np.float32],
        objects: list[list[SceneObject]],
        backgrounds: list[str],
        keys: NDArray[np.int64],
    ):
        self.images, self.objects, self.backgrounds, self.keys = images, objects, backgrounds, keys

    def __len__(self) -> int:
        return len(self.objects)

    def __repr__(self) -> str:
        return f"Scenes({len(self)} of {'x'.join(map(str, self.images.shape[1:]))})"

    def __getitem__(self, index: Any) -> Scenes:
        if not isinstance(index, slice):
            index = np.atleast_1d(np.asarray(index))
            if index.size == 0:
                index = index.astype(np.int64)
            if index.dtype.kind not in "iub" or index.ndim != 1:
                raise ValueError(f"Scenes take an integer, a slice or one row of them, got {describe(index)}")
        places = np.arange(len(self))[index].tolist()
        pick = [self.objects[i] for i in places], [self.backgrounds[i] for i in places]
        return Scenes(self.images[index], *pick, self.keys[index])

    @cached_property
    def fingerprints(self) -> list[bytes]:
        """A short value for the pixels of each picture: equal pictures, equal values."""
        return [blake2b(image.tobytes(), digest_size=16).digest() for image in self.images]

    def without(self, known: Collection[bytes]) -> Scenes:
        """The scenes whose picture is none of these `fingerprints`, whatever is said of it."""
        return self[[i for i, one in enumerate(self.fingerprints) if one not in known]]

    @cached_property
    def captions(self) -> list[str]:
        """A sentence in English that says all of each picture, in one of several wordings."""
        return self._captions("en")

    @cached_property
    def captions_ko(self) -> list[str]:
        """The same in Korean."""
        return self._captions("ko")

    def _captions(self, lang: str) -> list[str]:
        from minillm.data.scenes_texts import caption

        rows = zip(self.objects, self.backgrounds, self.keys.tolist())
        return [caption(objects, background, key, lang) for objects, background, key in rows]

    @cached_property
    def questions(self) -> list[list[SceneQuestion]]:
        """What can be asked of each picture, with the answers; see scenes_questions.py."""
        from minillm.data.scenes_questions import questions

        rows = zip(self.objects, self.backgrounds, self.keys.tolist())
        return [questions(objects, background, key) for objects, background, key in rows]


def scenes(
    n: int,
    size: int = 32,
    seed: int = 0,
    objects: int | tuple[int, int] = 1,
    grid: int | None = None,
    noise: float = 0.0,
    split: str = "all",
    *,
    shapes: Sequence[str] = SHAPES,
    colours: Sequence[str] = COLOURS,
    sizes: Sequence[str] = SIZES,
    backgrounds: Sequence[str] = BACKGROUNDS,
) -> Scenes:
    """n pictures of size x size pixels (16 to 96); the first k of them are the same whatever n is.

    objects: how many things a picture holds, or (fewest, most), all counts equally often. grid: things stand in
    different cells of a grid x grid board, anywhere in the cell; None is the smallest board that holds them: 1 for
    one thing (anywhere in the picture; captions then name no place), 2 for up to 4, 3 for up to 9. noise: standard
    deviation of what is added to each value. split: "train" draws no held-out pair of colour and shape, "held_out"
    those alone. shapes, colours, sizes, backgrounds: which to draw from.
    Raises ValueError naming what cannot be, such as a cell below 10 pixels or no pair left to draw.
    """
    check_int("n", n, 0), check_int("size", size, 16, 96), check_int("seed", seed, 0)
    check_choice("split", split, ("all", "train", "held_out")), check_number("noise", noise, 0.0, 1.0)
    options = {"shapes": (shapes, SHAPES), "colours": (colours, COLOURS)}
    options |= {"sizes": (sizes, SIZES), "backgrounds": (backgrounds, BACKGROUNDS)}
    shapes, colours, sizes, backgrounds = (_chosen(name, *given) for name, given in options.items())
    fewest, most = _counts(objects)
    grid = (
        next(g for g in range(1, most + 1) if g * g >= most) if grid is None else check_int("grid", grid, 1)
    )
    if grid * grid < most or size // grid < SMALLEST_CELL:
        raise ValueError(
            f"grid must have a cell for each of {most} objects and cells of at least {SMALLEST_CELL} pixels, "
            f"got {grid} x {grid} cells of {size // grid} pixels"
        )
    kept = {
        "all": lambda pair: True,
        "train": lambda pair: pair not in _HELD_OUT,
        "held_out": _HELD_OUT.__contains__,
    }
    pairs = [(c, s) for c in colours for s in shapes if kept[split]((c, s))]
    if not pairs:
        raise ValueError(f"no pair of these colours and shapes is in the split {split!r}")
    return _draw(n, size, seed, (fewest, most), grid, noise, pairs, sizes, backgrounds)


def _chosen(name: str, chosen: Any, known: Sequence[str]) -> tuple[str, ...]:
    """What is drawn from, each of it known."""
    values = tuple(chosen) if is_listing(chosen) else ()
    if not values:
        raise ValueError(f"{name} must list some of {', '.join(known)}, got {describe(chosen)}")
    return tuple(check_choice(name, value, known) for value in values)


def shapes(n: int = 100, size: int = 32, seed: int = 0) -> Scenes:
    """n pictures of one shape each, what `scenes` draws unless it is told otherwise."""
    return scenes(n, size, seed)


def _counts(objects: Any) -> tuple[int, int]:
    if isinstance(objects, (tuple, list)):
        if len(objects) != 2:
            raise ValueError(f"objects must be a number or (fewest, most), got {describe(objects)}")
        fewest = check_int("fewest objects", objects[0], 1)
        return fewest, check_int("most objects", objects[1], fewest, 81)
    return (check_int("objects", objects, 1, 81),) * 2


_HELD_OUT = frozenset(held_out_pairs())


def _draw(
    n: int,
    size: int,
    seed: int,
    counts: tuple[int, int],
    grid: int,
    noise: float,
    pairs: list[tuple[str, str]],
    sizes: tuple[str, ...],
    backgrounds: tuple[str, ...],
) -> Scenes:
    """The pictures: every property has a stream of its own, a fixed share of it for each scene."""
    fewest, most = counts
    cell = size // grid
    across = dict(zip(SIZES, diameters(cell)))
    draw = _streams(seed, n)
    ground = draw(0, 1, len(backgrounds))[:, 0].tolist()
    number = (draw(1, 1, most - fewest + 1)[:, 0] + fewest).tolist()
    cells = np.argsort(draw(2, grid * grid, 2**52), axis=1, kind="stable")[:, :most].tolist()
    pair, big = draw(3, most, len(pairs)).tolist(), draw(4, most, len(sizes)).tolist()
    shift = draw(5, 2 * most, 2**52).tolist()
    canvas = np.empty((n, size, size), np.uint8)
    canvas[:] = np.array([len(COLOURS) + BACKGROUNDS.index(backgrounds[g]) for g in ground], np.uint8)[
        :, None, None
    ]
    things: list[list[SceneObject]] = []
    for i in range(n):
        row_of = []
        for j in range(number[i]):
            colour, shape = pairs[pair[i][j]]
            name = sizes[big[i][j]]
            d = across[name]
            row, column = divmod(cells[i][j], grid)
            # one pixel of ground on every side: things never touch, nor the border
            free = cell - d - 1
            y = row * cell + 1 + shift[i][2 * j] % free
            x = column * cell + 1 + shift[i][2 * j + 1] % free
            canvas[i, y : y + d, x : x + d][mask(shape, d)] = COLOURS.index(colour)
            row_of.append(SceneObject(shape, colour, name, row, column, (x, y, x + d, y + d), grid))
        things.append(row_of)
    images = np.empty((n, 3, size, size), np.float32)
    for channel in range(3):
        np.take(PALETTE[:, channel], canvas, out=images[:, channel])
    if noise:
        images += np.float32(noise) * np.random.default_rng([seed, 6]).standard_normal(
            images.shape, np.float32
        )
        np.clip(images, 0, 1, out=images)
    return Scenes(images, things, [backgrounds[g] for g in ground], draw(7, 1, 2**31)[:, 0])


def _streams(seed: int, n: int) -> Callable[[int, int, int], NDArray[np.int64]]:
    """draw(stream, k, below): (n, k) whole numbers below `below`; row i does not depend on n."""
    return lambda stream, k, below: (np.random.default_rng([seed, stream]).random((n, k)) * below).astype(
        np.int64
    )
