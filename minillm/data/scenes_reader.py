"""Reads a picture of the scene world back, without training: the judge of every picture a model draws.

    the border's mean -> background; in each cell of the board the pixels farthest from it -> colour;
    alpha = how far a pixel has gone from background to colour;  the mask T of least |alpha - T|² -> shape, size, place

Book chapter 14; the method is template matching (least squares), which is the most likely reading under Gaussian
noise. It judges samples of diffusion (14.3.1) by what is in them, where FID only compares crowds (Heusel et al. 2017).
Left out: pictures with overlap or soft edges. It always answers for one object: a picture of nothing gets the nearest.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minillm._checks import check_int, describe
from minillm.data.scenes import (
    BACKGROUNDS,
    COLOURS,
    PALETTE,
    SHAPES,
    SIZES,
    SMALLEST_CELL,
    SceneObject,
    diameters,
    mask,
)

GROUNDS = PALETTE[len(COLOURS) :]  # (4, 3)
THERE = 0.25  # of what a perfect object explains: below, a cell is empty
CHUNK = 64  # cells at a time


class ReadScene(NamedTuple):
    """What is read in a picture; objects in the order of their cells."""

    background: str
    objects: list[SceneObject]


@cache
def _templates(d: int) -> NDArray[np.float32]:
    return np.stack([mask(shape, d).reshape(-1) for shape in SHAPES], 1).astype(np.float32)  # (d*d, 8)


def read_scene(image: Any, objects: int | str = 1, grid: int | None = None) -> ReadScene:
    """Reads one picture (3, S, S) of values in 0..1; the arguments are those of `read_scenes`."""
    if getattr(image, "ndim", None) != 3:
        raise ValueError(f"image must be an array (3, S, S), got {describe(image)}")
    return read_scenes(image[None], objects, grid)[0]


def read_scenes(images: Any, objects: int | str = 1, grid: int | None = None) -> list[ReadScene]:
    """Reads pictures (N, 3, S, S) of values in 0..1 (arrays or tensors).

    objects: how many things each holds, or "any": then cells that look empty are. grid: the board they were drawn on;
    None takes 1 for one object, else the board that explains a picture best.
    Raises ValueError for another shape, for values outside 0..1 (clip a model's picture first) or not numbers.
    """
    images = _checked(images)
    size = images.shape[-1]
    if objects != "any":
        check_int("objects", objects, 1)
    if grid is not None:
        check_int("grid", grid, 1, size // SMALLEST_CELL)
    boards = [grid] if grid else [1] if objects == 1 else list(range(1, size // SMALLEST_CELL + 1))[:4]
    if objects != "any":
        boards = [g for g in boards if g * g >= objects]
    if not boards:
        raise ValueError(
            f"no board of cells of {SMALLEST_CELL} pixels holds {objects} objects in {size} pixels"
        )
    if not len(images):
        return []
    edge = np.concatenate([images[:, :, 0], images[:, :, -1], images[:, :, :, 0], images[:, :, :, -1]], 2)
    ground = ((edge.mean(2)[:, None] - GROUNDS) ** 2).sum(-1).argmin(1)  # (N,)
    best: list[tuple[float, list[SceneObject]]] = [(-np.inf, [])] * len(images)
    for g in boards:
        for i, found in enumerate(_read_board(images, ground, g, objects)):
            best[i] = max(best[i], found, key=lambda pair: pair[0])
    return [ReadScene(BACKGROUNDS[k], things) for k, (_, things) in zip(ground.tolist(), best)]


def _checked(images: Any) -> NDArray[np.float32]:
    if hasattr(images, "detach"):
        images = images.detach().cpu().float().numpy()  # bfloat16 is no dtype of numpy's
    shape = getattr(images, "shape", ())
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or shape[2] < SMALLEST_CELL:
        raise ValueError(
            f"images must be an array (N, 3, S, S) of at least {SMALLEST_CELL} pixels, got {describe(images)}"
        )
    images = np.asarray(images, np.float32)
    if images.size and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"images must have values in 0..1, got {images.min():g} to {images.max():g}")
    return images


def _read_board(
    images: NDArray[np.float32], ground: NDArray[np.int64], grid: int, objects: int | str
) -> list[tuple[float, list[SceneObject]]]:
    """(how much is explained, objects) of each picture, read as a board of grid x grid cells."""
    N, cell = len(images), images.shape[-1] // grid
    cells = images[:, :, : grid * cell, : grid * cell].reshape(N, 3, grid, cell, grid, cell)
    cells = cells.transpose(0, 2, 4, 1, 3, 5).reshape(-1, 3, cell, cell)  # (N * grid², 3, c, c)
    grounds = np.repeat(ground, grid * grid)
    parts = [_read_cells(cells[i : i + CHUNK], grounds[i : i + CHUNK]) for i in range(0, len(cells), CHUNK)]
    gain, whole, kind, y, x, colour = (np.concatenate(column) for column in zip(*parts))
    out = []
    for i in range(N):
        here = range(i * grid * grid, (i + 1) * grid * grid)
        if objects == "any":
            kept = [k for k in here if gain[k] > THERE * whole[k]]
        else:
            kept = sorted(sorted(here, key=lambda k: -gain[k])[:objects])
        things = []
        for k in kept:
            large, shape = divmod(int(kind[k]), len(SHAPES))
            row, column = divmod(k - here[0], grid)
            d, top, left = diameters(cell)[large], row * cell + int(y[k]), column * cell + int(x[k])
            box = (left, top, left + d, top + d)
            things.append(
                SceneObject(SHAPES[shape], COLOURS[colour[k]], SIZES[large], row, column, box, grid)
            )
        out.append((float(sum(gain[k] for k in kept)), things))
    return out


def _read_cells(cells: NDArray[np.float32], ground: NDArray[np.int64]) -> tuple[NDArray, ...]:
    """Of each cell (n, 3, c, c): gain, gain of a perfect object, size * 8 + shape, row and column, colour."""
    n, _, c, _ = cells.shape
    base = GROUNDS[ground]  # (n, 3)
    moved = cells - base[:, :, None, None]
    far = (moved**2).sum(1).reshape(n, -1)  # (n, c*c)
    # as many of the farthest pixels as half the thinnest small shape has: they are surely the object's
    top = max(3, int(_templates(diameters(c)[0]).sum(0).min()) // 2)
    chosen = np.argpartition(far, -top, axis=1)[:, -top:]
    mean = np.take_along_axis(cells.reshape(n, 3, -1), chosen[:, None], 2).mean(2)  # (n, 3)
    colour = ((mean[:, None] - PALETTE[: len(COLOURS)]) ** 2).sum(-1).argmin(1)  # (n,)
    way = PALETTE[colour] - base  # from background to colour, (n, 3)
    length = (way**2).sum(1)
    alpha = np.einsum("nchw,nc->nhw", moved, way) / length[:, None, None]  # 0 background, 1 colour
    scores = []
    for d in diameters(c):
        windows = np.lib.stride_tricks.sliding_window_view(alpha, (d, d), (1, 2))  # (n, p, p, d, d)
        places = windows.shape[1]
        templates = _templates(d)
        # |alpha|² - |alpha - T|² = 2 <alpha, T> - |T|², of every place and shape
        score = 2 * (windows.reshape(-1, d * d) @ templates) - templates.sum(0)
        score = score.reshape(n, places * places, len(SHAPES))
        at = score.argmax(1)  # (n, 8)
        scores.append((np.take_along_axis(score, at[:, None], 1)[:, 0], *np.divmod(at, places)))
    gain, y, x = (np.concatenate(column, 1) for column in zip(*scores))  # (n, 16)
    kind = gain.argmax(1)

    def take(values: NDArray) -> NDArray:
        return np.take_along_axis(values, kind[:, None], 1)[:, 0]

    areas = np.concatenate([_templates(d).sum(0) for d in diameters(c)])
    return take(gain) * length, areas[kind] * length, kind, take(y), take(x), colour
