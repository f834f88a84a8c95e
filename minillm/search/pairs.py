"""What embedding models learn from: texts that belong together, some with texts that do not, or pairs with a score.

    Pair("anchor", "positive", ("negative", ...))     a question, its answer, and wrong answers that look right
    ScoredPair("first", "second", 0.8)                how alike two texts are, as people said

`as_pairs` and `as_scored` take tuples and dicts, too: ("anchor", "positive", "negative", ...), {"anchor": ...,
"positive": ..., "negatives": [...]}, ("first", "second", 0.8); `read_pairs` reads the dicts from a .jsonl file.

Book: 11.3 임베딩 모델 미세 조정하기. Held against: the columns that sentence_transformers' losses take.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minillm._checks import check_number, describe, is_listing
from minillm._files import BadFileError, read_bytes
from minillm.data.documents import plain_words


class Pair(NamedTuple):
    """anchor: a question, say. positive: a text that belongs to it. negatives: texts that do not."""

    anchor: str
    positive: str
    negatives: tuple[str, ...] = ()


class ScoredPair(NamedTuple):
    """Two texts and how alike they are, or whether they belong together: 0 to 1, or -1 to 1."""

    first: str
    second: str
    score: float


def as_pairs(pairs: Any, name: str = "pairs") -> list[Pair]:
    """A list of Pairs from Pairs, tuples or dicts; ValueError naming the first row that is none.

    A row is refused, too, where a text is blank, or where its positive stands among its negatives, up to white space
    and letter case.
    """
    return [_pair(one, f"{name}[{place}]") for place, one in enumerate(_rows(pairs, name))]


def as_scored(pairs: Any, name: str = "pairs", lowest: float = -1) -> list[ScoredPair]:
    """A list of ScoredPairs from ScoredPairs or tuples of two texts and a number from `lowest` to 1; ValueError."""
    found = []
    for place, one in enumerate(_rows(pairs, name)):
        if not is_scored(one):
            raise ValueError(f"{name}[{place}] must be (text, text, score), got {describe(one)}")
        number = check_number(f"the score of {name}[{place}]", one[2], lowest, 1)
        found.append(ScoredPair(one[0], one[1], number))
    return found


def is_scored(row: Any) -> bool:
    """Whether a row is two texts and a number."""
    return (
        isinstance(row, (tuple, list))
        and len(row) == 3
        and all(isinstance(text, str) for text in row[:2])
        and not isinstance(row[2], (str, bool, tuple, list))
    )


def read_either(pairs: Any, name: str = "pairs") -> tuple[list[Pair] | list[ScoredPair], bool]:
    """(the pairs, whether they are scored ones): the first row says which they all must be. ValueError."""
    rows = _rows(pairs, name)
    scored = is_scored(rows[0])
    return (as_scored if scored else as_pairs)(rows, name), scored


def labelled_pairs(pairs: Any) -> list[ScoredPair]:
    """Each pair with the score 1, and its anchor with each of its negatives with the score 0: for a cross-encoder.

    [("a", "b", "c")] -> [("a", "b", 1.0), ("a", "c", 0.0)].
    """
    return [
        ScoredPair(one.anchor, text, score)
        for one in as_pairs(pairs)
        for text, score in [(one.positive, 1.0), *((text, 0.0) for text in one.negatives)]
    ]


def read_pairs(path: str | Path) -> list[Pair]:
    """The pairs of a UTF-8 file with one JSON object a line: anchor, positive, negatives (a list, or one text as
    `negative`; it may be missing, or null). BadFileError (a ValueError) naming the file and the line that is none."""
    try:
        text = read_bytes(path, "file of pairs").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFileError(f"file of pairs {str(path)!r} is not UTF-8 text: {error.reason}") from None
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                found.append(_pair(_whole(json.loads(line)), "it"))
            except (ValueError, RecursionError) as error:
                raise BadFileError(
                    f"file of pairs {str(path)!r} is refused: line {number}: {error}"
                ) from None
    if not found:
        raise BadFileError(f"file of pairs {str(path)!r} holds no pair")
    return found


def _whole(row: Any) -> Any:
    """A line's value; ValueError for half a character, which JSON can write ("\\ud800") and no tokenizer can read."""
    try:
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        half = ord(error.object[error.start])
        raise ValueError(f"it has the lone surrogate U+{half:04X}, which is no character") from None
    return row


def _rows(pairs: Any, name: str) -> Sequence[Any]:
    if isinstance(pairs, Mapping) or not is_listing(pairs):
        raise ValueError(f"{name} must be a list of pairs, got {describe(pairs)}")
    pairs = list(pairs)
    if not pairs:
        raise ValueError(f"{name} must hold at least one pair, got none")
    return pairs


def _pair(row: Any, name: str) -> Pair:
    if isinstance(row, Mapping):
        missing = [key for key in ("anchor", "positive") if key not in row]
        if missing:
            raise ValueError(
                f"{name} must have the keys anchor and positive, {missing[0]} is missing; it has {describe(list(row))}"
            )
        negatives = row.get("negatives", row.get("negative"))
        if negatives is None:
            negatives = ()
        row = (row["anchor"], row["positive"], [negatives] if isinstance(negatives, str) else negatives)
    if not isinstance(row, (tuple, list)) or len(row) < 2:
        raise ValueError(f"{name} must be (anchor, positive) or a dict of both, got {describe(row)}")
    anchor, positive, *rest = row
    if len(rest) == 1 and isinstance(rest[0], (tuple, list)):
        rest = rest[0]
    texts = (anchor, positive, *(rest or ()))
    if not all(isinstance(text, str) for text in texts):
        wrong = next(text for text in texts if not isinstance(text, str))
        raise ValueError(
            f"{name} must hold an anchor, a positive and negatives, all str, got {describe(wrong)}"
        )
    for what, text in zip(("anchor", "positive", *("negative",) * len(rest)), texts):
        if not text.strip():
            raise ValueError(f"the {what} of {name} must hold text, got {describe(text)}")
    if plain_words(positive) in map(plain_words, rest):
        raise ValueError(
            f"the positive of {name} must not stand among its negatives, got {describe(positive)} as both"
        )
    return Pair(anchor, positive, tuple(rest))
