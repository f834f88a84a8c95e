"""The tokenizer of llama2.c's small story models: SentencePiece BPE (센텐스피스) from a `.bin` file.

The file is an int32 (bytes of the longest token) and, for each token, a float32 score, an int32 length and its bytes.
Ids 0, 1, 2 are <unk>, <s>, </s>; 3 to 258 the 256 bytes; then the merged pieces and the single characters.

Unlike GPT-2's BPE it starts from characters, cuts nothing into pieces, puts one blank in front of the text, and keeps
no list of merges: of all neighbours whose joined text is a token, the pair with the best score is joined, the
leftmost of equals. A character that is no token falls back to its UTF-8 bytes (바이트 폴백).

Book: 2.2.1 토큰화. Paper: Kudo and Richardson 2018 (SentencePiece). Held against: llama2.c's run.c on stories260K.
Left out: training, and SentencePiece's text normalisation.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

from minillm._checks import check_int, describe, is_listing
from minillm._files import BadFileError, read_bytes
from minillm.tokenizer.added import AddedToken
from minillm.tokenizer.base import Tokenizer
from minillm.tokenizer.batch import check_texts
from minillm.tokenizer.offsets import Token

_FIRST_BYTE, _FIRST_PIECE = 3, 259


class Llama2cTokenizer(Tokenizer):
    """Text to ids and back with the vocabulary of a llama2.c tokenizer file."""

    def __init__(self, tokens: Sequence[bytes], scores: Sequence[float]) -> None:
        """`tokens[i]` and `scores[i]` as the file lists them; ValueError when the first 259 are not as told above."""
        for name, values in (("tokens", tokens), ("scores", scores)):
            if not is_listing(values) or not hasattr(values, "__len__"):
                raise ValueError(f"{name} must be a list, got {describe(values)}")
        if len(tokens) != len(scores) or len(tokens) < _FIRST_PIECE:
            raise ValueError(f"expected at least {_FIRST_PIECE} tokens with scores, got {len(tokens)}")
        for byte in range(256):
            if tokens[_FIRST_BYTE + byte] != b"<0x%02X>" % byte:
                raise ValueError(
                    f"id {_FIRST_BYTE + byte} must be the byte <0x{byte:02X}>, got {tokens[3 + byte]!r}"
                )
        if not all(map(math.isfinite, scores)):
            raise ValueError("a score is not a finite number")
        specials = [AddedToken(index, name) for index, name in enumerate(("<unk>", "<s>", "</s>"))]
        super().__init__(
            ScoredBPE([token.content for token in specials], tokens, scores),
            specials,
            {"normalizer": {"type": "Prepend", "prepend": " "}},
        )
        self._spelled = self.model.spelled

    def _name_ids(self) -> tuple[list[str], dict[str, int]]:
        return self.model.names, self.model.vocab  # a file may spell two ids alike; the first has the name

    @classmethod
    def from_file(cls, path: str | Path, vocab_size: int | None = None) -> Llama2cTokenizer:
        """Open a `.bin` file.

        The file does not say how many tokens it has, so a file cut between two tokens looks whole. Without
        `vocab_size` the number must be a power of two or 32,000, which llama2.c's own files are.

        Raises:
            BadFileError: the file is missing, cut short, damaged or of another size.
        """
        if vocab_size is not None:
            check_int("vocab_size", vocab_size, minimum=_FIRST_PIECE)
        data = read_bytes(path, "tokenizer")
        refusal = f"tokenizer {str(path)!r} is refused"
        tokens, scores, at = [], [], 4
        try:
            (longest,) = struct.unpack_from("<i", data, 0)
            while at < len(data):
                score, length = struct.unpack_from("<fi", data, at)
                token = data[at + 8 : at + 8 + length] if length >= 0 else b""
                if length <= 0 or len(token) != length:
                    raise BadFileError(f"{refusal}: cut short or damaged at byte {at}")
                tokens.append(token)
                scores.append(score)
                at += 8 + length
        except struct.error:
            raise BadFileError(f"{refusal}: cut short at byte {at}") from None
        size = len(tokens)
        expected = [vocab_size] if vocab_size is not None else [1 << max(0, size - 1).bit_length(), 32000]
        if size not in expected:
            raise BadFileError(f"{refusal}: it has {size} tokens, expected {' or '.join(map(str, expected))}")
        if max(map(len, tokens), default=0) != longest:
            raise BadFileError(f"{refusal}: it promises a token of {longest} bytes and has none")
        try:
            return cls(tokens, scores)
        except ValueError as error:
            raise BadFileError(f"{refusal}: {error}") from None

    def encode(
        self, text: str, bos: bool = False, eos: bool = False, allowed_special: str | Collection[str] = ()
    ) -> list[int]:
        """The ids of `text`, with <s> in front and </s> behind if asked for. "" has none of its own.

        Special tokens in the text are ordinary text, as in run.c, unless `allowed_special` names them.

        Raises:
            ValueError: `text` is no str or has a lone surrogate, which no bytes stand for.
        """
        ids = super().encode(text, allowed_special)
        return [self.bos_token_id] * bool(bos) + ids + [self.eos_token_id] * bool(eos)

    def trace(self, text: str, allowed_special: str | Collection[str] = ()) -> list[Token]:
        """The tokens of `encode`, each with its place in `text`."""
        return super().trace(text, allowed_special)

    def encode_with_offsets(
        self, text: str, allowed_special: str | Collection[str] = ()
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """(the ids of `encode`, where each lies in `text`)."""
        return super().encode_with_offsets(text, allowed_special)

    def encode_batch(self, texts: Iterable[str], bos: bool = False, eos: bool = False) -> list[list[int]]:
        """The ids of each text, as `encode` gives them."""
        return [self.encode(text, bos, eos) for text in check_texts(texts)]

    def encode_iterable(
        self, texts: Iterable[str], allowed_special: str | Collection[str] = ()
    ) -> Iterator[int]:
        """The ids of all `texts` joined, one at a time; any blank may join two texts, so all are gathered first."""
        return super().encode_iterable(texts, allowed_special)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text that `ids` spell, without the one blank that `encode` puts in front.

        Raises:
            ValueError: `ids` is no sequence of integers in [0, vocab_size).
        """
        known = self._checked(ids, skip_special_tokens)
        start, rest = (known[:1], known[1:]) if known[:1] == [self.bos_token_id] else ([], known)
        return (self.decode_bytes(start) + self.decode_bytes(rest).removeprefix(b" ")).decode(
            "utf-8", "replace"
        )

    def save(self, path: str | Path) -> Path:
        """Not offered: the `.bin` file is a format to read. Raises ValueError saying so."""
        raise ValueError(f"a llama2.c tokenizer cannot be saved (to {describe(path)}); copy its .bin file")


class ScoredBPE:
    """The model: of all neighbours whose joined text is a token, the pair with the best score is joined.

    names: how the file spells each id.   spelled: the bytes each id stands for.
    """

    def __init__(self, specials: Sequence[str], tokens: Sequence[bytes], scores: Sequence[float]) -> None:
        self.names = [*specials, *(token.decode("utf-8", "replace") for token in tokens[_FIRST_BYTE:])]
        self.spelled = [name.encode() for name in specials] + [bytes([byte]) for byte in range(256)]
        self.spelled += [bytes(token) for token in tokens[_FIRST_PIECE:]]
        self._scores = [float(score) for score in scores]
        self.vocab: dict[str, int] = {}
        for index, name in enumerate(self.names):
            self.vocab.setdefault(name, index)
        self._pieces: dict[bytes, int] = {}
        for index in range(_FIRST_PIECE, len(tokens)):
            self._pieces.setdefault(self.spelled[index], index)

    def to_json(self) -> dict[str, Any]:
        """Not offered, see `Llama2cTokenizer.save`."""
        raise ValueError("a llama2.c tokenizer has no tokenizer.json")

    def encode(self, text: str, pre_tokenizer: Any = None, starts: bool = True) -> list[int]:
        """The ids of `text`, which is never cut into pieces."""
        ids: list[int] = []
        for character in text:
            data = character.encode("utf-8")
            index = self._pieces.get(data)
            ids += [_FIRST_BYTE + byte for byte in data] if index is None else [index]

        # A linked list of ids and a heap of (-score, place, the two ids), so that long texts cost n log n.
        before, after = list(range(-1, len(ids) - 1)), list(range(1, len(ids) + 1))
        heap: list[tuple[float, int, int, int, int]] = []

        def offer(i: int) -> None:
            if i >= 0 and after[i] < len(ids):
                left, right = ids[i], ids[after[i]]
                joined = self._pieces.get(self._spelling(left) + self._spelling(right))
                if joined is not None:
                    heappush(heap, (-self._scores[joined], i, left, right, joined))

        for i in range(len(ids)):
            offer(i)
        while heap:
            _, i, left, right, joined = heappop(heap)
            j = after[i]
            if ids[i] != left or j >= len(ids) or ids[j] != right:
                continue  # merged away since
            ids[i], ids[j] = joined, -1
            after[i] = after[j]
            if after[j] < len(ids):
                before[after[j]] = i
            offer(i)
            offer(before[i])
        return [index for index in ids if index >= 0]

    def trace(self, piece: str) -> list[tuple[int, int, int]]:
        """(id, start, end) of each token, in characters of `piece`."""
        places = [place for place, character in enumerate(piece) for _ in character.encode("utf-8")]
        found, at = [], 0
        for index in self.encode(piece):
            end = at + len(self.spelled[index])
            found.append((index, places[at], places[end - 1] + 1))
            at = end
        return found

    def _spelling(self, index: int) -> bytes:
        """What merging reads: a byte token is spelled <0x41> there, so that bytes never join into pieces."""
        return self.spelled[index] if index >= _FIRST_PIECE else self.names[index].encode()
