"""Truncation (절단): which tokens of a text, or of two, fit into a row; what is cut off can come back as further rows.

    room 4, stride 1:   a b c d e f g   ->   a b c d | d e f g          a long passage is read in windows

Only texts are cut, never the special tokens around them. Book: 3.3.2. Held against: transformers' fast tokenizers.
"""

from __future__ import annotations

from collections.abc import Iterator

from minillm._checks import check_choice, check_int

Span = tuple[int, int]


def windows(length: int, room: int, stride: int = 0, side: str = "right") -> list[Span]:
    """(start, end) of the windows that cover `length` tokens, `room` each; two neighbours share `stride` tokens.

    `side` is where a text is cut: from "left" the first window is the text's end. Raises ValueError for a stride that
    leaves a window nothing of its own.
    """
    check_int("length", length, 0)
    check_int("room", room, 0)
    check_int("stride", stride, 0)
    check_choice("side", side, ("right", "left"))
    if 0 < room < length:
        check_int("stride", stride, 0, room - 1)
    if length <= room:
        return [(0, length)]
    if room == 0:
        return [(0, 0), (0, length)]
    found: list[Span] = []
    for start in range(0, length, room - stride):
        found.append((start, min(start + room, length)))
        if start + room >= length:
            break
    return found if side == "right" else [(length - end, length - start) for start, end in found]


def rooms(first: int, second: int | None, room: int, strategy: str) -> Span:
    """How many tokens of each text are kept. longest_first: the longer one gives until both are equally long.

    Raises:
        ValueError: the one text that may be cut is too short for it; another strategy than "longest_first",
            "only_first", "only_second".
    """
    check_int("first", first, 0)
    check_int("room", room, 0)
    check_choice("strategy", strategy, ("longest_first", "only_first", "only_second"))
    if second is not None:
        check_int("second", second, 0)
    over = first + (second or 0) - room
    if over <= 0:
        return first, second or 0
    if strategy == "longest_first":
        if second is None:
            return room, 0
        short = min(first, second, room // 2)
        return (room - short, short) if first > second else (short, room - short)
    if strategy == "only_first":
        check_gives(strategy, first, over)
        return first - over, second or 0
    check_gives(strategy, second, over)
    return first, second - over


def check_gives(strategy: str, length: int | None, over: int) -> None:
    """ValueError unless the text that is to be cut is there, and longer than the `over` tokens that it has to give."""
    if length is None:
        raise ValueError("truncation 'only_second' needs a text_pair")
    if length <= over:
        raise ValueError(
            f"truncation {strategy!r} cannot take {over} tokens from a text of {length}; cut the other one, too"
        )


def choices(spans: list[list[Span]]) -> Iterator[list[Span]]:
    """The windows of one text, or of two with each other: the first of both, then those of the second text with each
    further one of the first, last the further ones of the second with the first of the first."""
    first = spans[0]
    second: list[list[Span]] = [[span] for span in spans[1]] if len(spans) > 1 else [[]]
    yield [first[0], *second[0]]
    for span in first[1:]:
        yield from ([span, *other] for other in second)
    yield from ([first[0], *other] for other in second[1:])
