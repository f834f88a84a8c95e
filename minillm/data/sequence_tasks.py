"""Three small tasks that tell sequence models apart: what must be kept, found or passed over is known exactly.

    selective_copy   letters among blanks, to be said in order at the end        keep some, pass over the rest
    induction        a piece that repeats: what follows what was seen before     look back for the same token
    recall           pairs of a key and a value, then the keys in another order  look a value up by its key

Each gives (ids, targets), int64 (items, length); a target is what is to be said after the token in its place, SILENT
where nothing is asked. Training and exams use generators of other seeds; no two calls of one generator are alike.

Book: 16.3 선택 메커니즘, 16.4.2 기존 아키텍처와의 비교. Papers: Gu and Dao 2023 (selective copying, induction),
Arora et al. 2023 (recall). Held against plain Python that does the task. Leaves out: text; these are ids
without words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minillm._checks import check_int, describe

if TYPE_CHECKING:
    from torch import Generator, Tensor

SILENT = -100  # a target that does not count, as torch's cross_entropy leaves it out
BLANK, MARK = 16, 17  # of selective_copy, behind its letters 0..15
LETTERS, COPIED = 16, 8
PIECE_LETTERS, SHORTEST, LONGEST = 32, 4, 16  # of induction
KEYS = 64  # of recall: keys 0..63, values 64..127


def selective_copy(generator: Generator, items: int, length: int) -> tuple[Tensor, Tensor]:
    """Eight letters (0..15) somewhere among blanks (16); at the eight marks (17) of the end they are said in order.

    length: from 16 on. Vocabulary: 18.
    """
    torch = _checked(generator, items, length, 2 * COPIED)
    ids = torch.full((items, length), BLANK)
    letters = torch.randint(0, LETTERS, (items, COPIED), generator=generator)
    places = torch.rand(items, length - COPIED, generator=generator).topk(COPIED).indices.sort().values
    ids.scatter_(1, places, letters)
    ids[:, -COPIED:] = MARK
    targets = torch.full_like(ids, SILENT)
    targets[:, -COPIED:] = letters
    return ids, targets


def induction(generator: Generator, items: int, length: int) -> tuple[Tensor, Tensor]:
    """A random piece of 4 to 16 of 32 different letters, again and again: what follows a letter that was seen before?

    length: from 17 on, so that the longest piece begins again. Vocabulary: 32.
    """
    torch = _checked(generator, items, length, LONGEST + 1)
    ids, targets = torch.empty(items, length, dtype=torch.int64), torch.full((items, length), SILENT)
    for i in range(items):
        period = int(torch.randint(SHORTEST, LONGEST + 1, (), generator=generator))
        piece = torch.randperm(PIECE_LETTERS, generator=generator)[:period]
        text = piece.repeat(length // period + 2)[: length + 1]
        ids[i], targets[i, period:] = text[:-1], text[period + 1 :]
    return ids, targets


def recall(generator: Generator, items: int, length: int) -> tuple[Tensor, Tensor]:
    """length/4 pairs of a key (0..63) and a value (64..127), then every key again in another order: which value?

    No key comes twice among the pairs. length: a multiple of 4, up to 256. Vocabulary: 128.
    """
    torch = _checked(generator, items, length, 4)
    if length % 4 or length > 4 * KEYS:
        raise ValueError(f"length must be a multiple of 4 up to {4 * KEYS}, got {length}")
    pairs = length // 4
    keys = torch.rand(items, KEYS, generator=generator).topk(pairs).indices
    values = KEYS + torch.randint(0, KEYS, (items, pairs), generator=generator)
    order = torch.rand(items, pairs, generator=generator).argsort()
    asked, answers = keys.gather(1, order), values.gather(1, order)
    ids = torch.cat([torch.stack(two, dim=2).flatten(1) for two in ((keys, values), (asked, answers))], dim=1)
    targets = torch.full_like(ids, SILENT)
    targets[:, 2 * pairs :: 2] = answers
    return ids, targets


def _checked(generator: Generator, items: int, length: int, shortest: int):
    """torch, after the arguments were looked at."""
    import torch  # takes a second to import, and the other data need none of it

    if not isinstance(generator, torch.Generator):
        raise ValueError(f"generator must be a torch.Generator, got {describe(generator)}")
    check_int("items", items, 1)
    check_int("length", length, shortest)
    return torch
