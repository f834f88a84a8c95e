"""The BPE model (BPE 모델): from a text to ids. Cut it into pieces, then merge inside each piece.

    "low lowest" -> "low" " lowest" -> l o w | Ġ l o w e s t -> low | Ġlow est       merges in the order of learning

A byte-level model starts from the bytes of a piece, any other from its characters: one that is no token becomes its
bytes <0xED><0x95><0x9C> (byte fallback), else the unknown token, else it is dropped, as the tokenizers library does.

Where the speed comes from: for GPT-2's pattern a loop over UTF-8 bytes looks each character's class up in a table
(`piece_ends`); and text repeats itself, so every short piece is first looked up in a direct-mapped cache (단어 캐시):
one slot by hash, the newest word wins it. Only a miss replays merges: short pieces by scanning the ranks of all
pairs, long ones (a megabyte without a blank) with a heap, so that no text costs more than n log n.

Book: 2.2.1 토큰화. Plain versions: splitting.split, bpe_plain.encode_word_plain. Held against: tiktoken, tokenizers.
Left out: threads; dropout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from minillm._checks import check_flag, check_text, describe
from minillm.tokenizer.byte_alphabet import BYTE_TO_CHARACTER, to_characters
from minillm.tokenizer.splitting import character_classes

if TYPE_CHECKING:
    from minillm.tokenizer.pre_tokenizers import Sequence as PreTokenizer

_SCAN_AT_MOST = 100  # bytes of a piece up to which scanning all pairs beats a heap
_WORD, _IDS = 32, 12  # the longest word the cache keeps, in bytes, and the most ids for one
_SLOTS = 1 << 15
_REMEMBERED = 1 << 14  # pieces kept by a model of characters
_NO_RANK = np.int64(1) << 30


# --- cutting ------------------------------------------------------------------------------------------------------


@njit(cache=True)
def _class_at(data, i, classes):  # -> (class of the character that starts at byte i, its length in bytes)
    first = np.int64(data[i])
    if first < 0x80:
        return classes[first], 1
    if first < 0xE0:
        return classes[(first & 0x1F) << 6 | data[i + 1] & 0x3F], 2
    if first < 0xF0:
        return classes[(first & 0x0F) << 12 | (data[i + 1] & 0x3F) << 6 | data[i + 2] & 0x3F], 3
    high = (first & 0x07) << 18 | (data[i + 1] & 0x3F) << 12
    return classes[high | (data[i + 2] & 0x3F) << 6 | data[i + 3] & 0x3F], 4


@njit(cache=True)
def _piece_ends(data, limits, classes, ends):
    count, i = 0, 0
    for limit in limits:
        while i < limit:
            first = data[i]
            j = i
            if first == 39 and i + 1 < limit:  # an apostrophe: 's 'd 'm 't, then 'll 've 're
                second = data[i + 1]
                if second == 115 or second == 100 or second == 109 or second == 116:
                    j = i + 2
                elif i + 2 < limit and (
                    (second == 108 and data[i + 2] == 108)
                    or ((second == 118 or second == 114) and data[i + 2] == 101)
                ):
                    j = i + 3
            if j == i:
                kind, width = _class_at(data, i, classes)
                if first == 32 and i + 1 < limit:  # one space goes with the word behind it
                    next_kind, next_width = _class_at(data, i + 1, classes)
                    if next_kind != 3:
                        kind, width = next_kind, next_width + 1
                j = i + width
                last = i  # where the latest character of the run starts
                while j < limit:
                    next_kind, next_width = _class_at(data, j, classes)
                    if next_kind != kind:
                        break
                    last = j
                    j += next_width
                if kind == 3 and j < limit and last > i:  # a word follows: leave it the last blank
                    j = last
            ends[count] = j
            count += 1
            i = j
    return count


def piece_ends(data: bytes, limits: np.ndarray | None = None) -> np.ndarray:
    """Where GPT-2's pattern ends each piece of UTF-8 `data`, as byte offsets, int64 (pieces,).

    `limits` (int64, rising, the last one `len(data)`) are ends of texts that were joined: no piece crosses one.
    `data` must be valid UTF-8; whoever calls has encoded it from a str.
    """
    view = np.frombuffer(data, dtype=np.uint8)
    if limits is None:
        limits = np.array([len(data)], dtype=np.int64)
    ends = np.empty(len(data), dtype=np.int64)
    return ends[: _piece_ends(view, limits, character_classes(), ends)]


# --- merging ------------------------------------------------------------------------------------------------------


@njit(cache=True)
def _rank(keys, ranks, a, b):
    """The rank of merging ids (a, b), or _NO_RANK."""
    key = np.int64(a) << 32 | np.int64(b)
    h = key * np.int64(-7046029254386353131)
    slot = (h ^ (h >> 32)) & (keys.size - 1)
    while keys[slot] != -1:
        if keys[slot] == key:
            return np.int64(ranks[slot])
        slot = (slot + 1) & (keys.size - 1)
    return _NO_RANK


@njit(cache=True)
def _fill(keys, ranks, lefts, rights):
    for rank in range(lefts.size):
        key = np.int64(lefts[rank]) << 32 | np.int64(rights[rank])
        h = key * np.int64(-7046029254386353131)
        slot = (h ^ (h >> 32)) & (keys.size - 1)
        while keys[slot] != -1 and keys[slot] != key:
            slot = (slot + 1) & (keys.size - 1)
        keys[slot], ranks[slot] = key, rank  # of equal merges the last one counts, as in tokenizers


@njit(cache=True)
def _merge_by_scan(ids, n, pair_ranks, keys, ranks, results):
    """Merge ids[:n] in place, the lowest rank first and of equals the leftmost; returns how many are left."""
    for i in range(n - 1):
        pair_ranks[i] = _rank(keys, ranks, ids[i], ids[i + 1])
    while n > 1:
        best, at = _NO_RANK, -1
        for i in range(n - 1):
            if pair_ranks[i] < best:
                best, at = pair_ranks[i], i
        if at < 0:
            break
        ids[at] = results[best]
        n -= 1
        for i in range(at + 1, n):
            ids[i] = ids[i + 1]
            pair_ranks[i - 1] = pair_ranks[i]
        if at > 0:
            pair_ranks[at - 1] = _rank(keys, ranks, ids[at - 1], ids[at])
        if at < n - 1:
            pair_ranks[at] = _rank(keys, ranks, ids[at], ids[at + 1])
    return n


@njit(cache=True)
def _heap_push(heap, size, item):
    i = size
    while i > 0 and heap[(i - 1) >> 1] > item:
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
    heap[i] = item


@njit(cache=True)
def _heap_pop(heap, size):
    item, i = heap[size - 1], 0
    while 2 * i + 1 < size - 1:
        child = 2 * i + 1
        if child + 1 < size - 1 and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= item:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = item


@njit(cache=True)
def _merge_by_heap(ids, n, keys, ranks, results):
    """`_merge_by_scan` for long pieces: a linked list of ids and a heap of rank << 32 | place, so n log n."""
    before, after = np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(n):
        before[i], after[i] = i - 1, i + 1
    heap = np.empty(3 * n, np.int64)  # every merge removes one id and pushes at most two pairs
    size = 0
    for i in range(n - 1):
        rank = _rank(keys, ranks, ids[i], ids[i + 1])
        if rank < _NO_RANK:
            _heap_push(heap, size, rank << 32 | i)
            size += 1
    while size > 0:
        rank, i = heap[0] >> 32, heap[0] & 0xFFFFFFFF
        _heap_pop(heap, size)
        size -= 1
        j = after[i]
        if ids[i] < 0 or j >= n or _rank(keys, ranks, ids[i], ids[j]) != rank:
            continue  # merged away since
        ids[i], ids[j] = results[rank], -1
        after[i] = after[j]
        if after[j] < n:
            before[after[j]] = i
            right = _rank(keys, ranks, ids[i], ids[after[j]])
            if right < _NO_RANK:
                _heap_push(heap, size, right << 32 | i)
                size += 1
        if before[i] >= 0:
            left = _rank(keys, ranks, ids[before[i]], ids[i])
            if left < _NO_RANK:
                _heap_push(heap, size, left << 32 | before[i])
                size += 1
    kept = 0
    for i in range(n):
        if ids[i] >= 0:
            ids[kept] = ids[i]
            kept += 1
    return kept


@njit(cache=True)
def _merge(ids, keys, ranks, results):
    """Merge the ids of one piece in place; returns how many are left."""
    if ids.size <= _SCAN_AT_MOST:
        return _merge_by_scan(ids, ids.size, np.empty(_SCAN_AT_MOST, np.int64), keys, ranks, results)
    return _merge_by_heap(ids, ids.size, keys, ranks, results)


@njit(cache=True)
def _encode(data, ends, byte_ids, keys, ranks, results, cache_words, cache_ids, cache_sizes, out):
    """Write the ids of all pieces to `out` (int32, room for one id a byte); returns how many there are."""
    pair_ranks = np.empty(_SCAN_AT_MOST, np.int64)
    count, begin = 0, 0
    for end in ends:
        length = end - begin
        slot = -1
        if length <= _WORD:
            h = np.int64(-3750763034362895579)  # FNV-1a
            for i in range(begin, end):
                h = (h ^ data[i]) * 1099511628211
            slot = (h ^ (h >> 32)) & (_SLOTS - 1)
            if cache_sizes[slot, 0] == length:
                i = 0
                while i < length and cache_words[slot, i] == data[begin + i]:
                    i += 1
                if i == length:  # seen before
                    for k in range(cache_sizes[slot, 1]):
                        out[count + k] = cache_ids[slot, k]
                    count += cache_sizes[slot, 1]
                    begin = end
                    continue
        ids = out[count : count + length]
        for i in range(length):
            ids[i] = byte_ids[data[begin + i]]
        if length <= _SCAN_AT_MOST:
            made = _merge_by_scan(ids, length, pair_ranks, keys, ranks, results)
        else:
            made = _merge_by_heap(ids, length, keys, ranks, results)
        if slot >= 0 and made <= _IDS:
            cache_sizes[slot, 0], cache_sizes[slot, 1] = length, made
            for i in range(length):
                cache_words[slot, i] = data[begin + i]
            for k in range(made):
                cache_ids[slot, k] = ids[k]
        count += made
        begin = end
    return count


# --- the model ----------------------------------------------------------------------------------------------------

OPTIONS: dict[str, Any] = {
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}


class BPE:
    """A vocabulary and its merges as tables, and its word cache (about 2.8 MB, whatever is encoded)."""

    def __init__(
        self,
        vocab: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        options: Mapping[str, Any] = OPTIONS,
    ) -> None:
        """`vocab` maps tokens as files spell them to ids; `merges` come in the order they were learned.

        `options` are those of tokenizer.json: ignore_merges (a piece that is a token is taken whole), byte_fallback,
        unk_token and fuse_unk (a run of unknown characters is one), continuing_subword_prefix (of every character
        but a word's first), end_of_word_suffix (of the last).

        Raises:
            ValueError: a merge whose parts or result are no tokens, or an option that is not supported.
        """
        self.vocab, self.merges = dict(vocab), list(merges)
        self.options = {**OPTIONS, **options}
        self._check_options()
        prefix = self.options["continuing_subword_prefix"] or ""
        pairs, results = [], []
        for left, right in self.merges:
            joined = left + right.removeprefix(prefix)
            if not {left, right, joined} <= self.vocab.keys():
                raise ValueError(f"merge {left!r} + {right!r} needs a token that the vocabulary lacks")
            pairs.append((self.vocab[left], self.vocab[right]))
            results.append(self.vocab[joined])
        size = 16
        while size < 2 * len(pairs) + 2:
            size *= 2
        self._results = np.array(results, dtype=np.int32)
        self._keys = np.full(size, -1, dtype=np.int64)
        self._ranks = np.zeros(size, dtype=np.int32)
        table = np.array(pairs, dtype=np.int32).reshape(-1, 2)
        _fill(self._keys, self._ranks, table[:, 0].copy(), table[:, 1].copy())
        self._known: dict[str, list[int]] = {}  # pieces seen before
        self._sizes: dict | None = None
        self._tables: tuple[np.ndarray, ...] | None = None
        byte_ids = [self.vocab.get(character, -1) for character in BYTE_TO_CHARACTER]
        changed = ("continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")
        self.missing = [byte for byte, index in enumerate(byte_ids) if index < 0]
        if not self.missing and not any(self.options[name] for name in changed):
            self._tables = (
                np.array(byte_ids, dtype=np.int32), self._keys, self._ranks, self._results,
                np.zeros((_SLOTS, _WORD), dtype=np.uint8), np.zeros((_SLOTS, _IDS), dtype=np.int32),
                np.zeros((_SLOTS, 2), dtype=np.int32),
            )  # fmt: skip

    def _check_options(self) -> None:
        for name, value in self.options.items():
            if name not in OPTIONS or (name == "dropout" and value not in (None, 0.0)):
                raise ValueError(f"model.{name} {describe(value)} is not supported")
            if OPTIONS[name] is False:
                check_flag(f"model.{name}", value)
            elif name != "dropout" and value is not None:
                check_text(f"model.{name}", value)
        unknown = self.options["unk_token"]
        if unknown is not None and unknown not in self.vocab:
            raise ValueError(f"model.unk_token {unknown!r} is not in the vocabulary")

    def check_bytes(self) -> None:
        """Raise ValueError unless this is a byte-level vocabulary that has all of the 256 bytes."""
        if self.missing:
            raise ValueError(
                f"the vocabulary lacks {len(self.missing)} of the 256 bytes (first: 0x{self.missing[0]:02x}), so some "
                "text would be lost; with tokenizers, train with initial_alphabet=ByteLevel.alphabet()"
            )

    def encode(self, text: str, pre_tokenizer: PreTokenizer, starts: bool = True) -> list[int]:
        """The ids of `text`, in which no added tokens are looked for; `starts`: it begins where the input begins."""
        if pre_tokenizer.byte_level:
            return self.encode_pieces(*self.cut(text, pre_tokenizer, starts))
        return [index for piece in pre_tokenizer(text, starts) for index in self.encode_piece(piece)]

    def cut(self, text: str, pre_tokenizer: PreTokenizer, starts: bool = True) -> tuple[bytes, np.ndarray]:
        """The pieces of `text` as UTF-8, one behind the other, and where each ends, int64 (pieces,)."""
        if pre_tokenizer.is_gpt2:
            data = text.encode("utf-8")
            return data, piece_ends(data)
        pieces = [
            piece.encode("utf-8", "surrogateescape") for piece in pre_tokenizer.before_bytes(text, starts)
        ]
        return b"".join(pieces), np.cumsum([len(piece) for piece in pieces], dtype=np.int64)

    def encode_pieces(self, data: bytes, ends: np.ndarray) -> list[int]:
        """The ids of the pieces of `data` that end at `ends` (int64, rising), for a vocabulary of bytes."""
        if self._tables is None:
            starts = [0, *ends.tolist()]
            pieces = (to_characters(data[start:end]) for start, end in pairwise(starts))
            return [index for piece in pieces for index in self.encode_piece(piece)]
        out = np.empty(len(data), dtype=np.int32)
        count = _encode(np.frombuffer(data, dtype=np.uint8), ends, *self._tables, out)
        return out[:count].tolist()

    def encode_piece(self, piece: str) -> list[int]:
        """The ids of one piece, spelled as the vocabulary spells it."""
        ids = self._known.get(piece)
        if ids is None:
            if self.options["ignore_merges"] and piece in self.vocab:
                ids = [self.vocab[piece]]
            else:
                symbols = np.array([index for index, _ in self._first_symbols(piece)], dtype=np.int32)
                ids = symbols[: _merge(symbols, self._keys, self._ranks, self._results)].tolist()
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            if len(piece) <= _WORD:
                self._known[piece] = ids
        return ids

    def _first_symbols(self, piece: str) -> list[tuple[int, int]]:
        """(id, bytes of `piece`) of each symbol before any merge."""
        prefix = self.options["continuing_subword_prefix"] or ""
        suffix = self.options["end_of_word_suffix"] or ""
        unknown = self.vocab.get(self.options["unk_token"])
        symbols: list[tuple[int, int]] = []
        waiting: list[
            tuple[int, int]
        ] = []  # an unknown character, not yet written: more of them may fuse with it
        for place, character in enumerate(piece):
            token = (prefix if place else "") + character + (suffix if place == len(piece) - 1 else "")
            index, width = self.vocab.get(token), len(character.encode("utf-8"))
            if index is not None:
                symbols += [*waiting, (index, width)]
                waiting = []
                continue
            if self.options["byte_fallback"]:
                bytes_ids = [self.vocab.get(f"<0x{byte:02X}>") for byte in token.encode("utf-8")]
                if None not in bytes_ids:
                    symbols += [(byte, 1) for byte in bytes_ids]
                    continue  # a waiting unknown token comes behind them, as in tokenizers
            if unknown is not None:
                if waiting and self.options["fuse_unk"]:
                    width += waiting.pop()[1]
                symbols += waiting
                waiting = [(unknown, width)]
        return symbols + waiting

    def trace(self, piece: str) -> list[tuple[int, int, int]]:
        """(id, start, end) of each token of one piece, in characters of the piece."""
        ids = self.encode_piece(piece)
        if self.options["ignore_merges"] and piece in self.vocab:
            return [(ids[0], 0, len(piece))]
        if self._sizes is None:  # how many first symbols an id is made of
            prefix = self.options["continuing_subword_prefix"] or ""
            sizes: dict[str, int] = {}
            for left, right in sorted(self.merges, key=lambda pair: len(pair[0]) + len(pair[1])):
                sizes[left + right.removeprefix(prefix)] = sizes.get(left, 1) + sizes.get(right, 1)
            self._sizes = {self.vocab[token]: size for token, size in sizes.items()}
        places = [place for place, character in enumerate(piece) for _ in character.encode("utf-8")]
        widths = iter([width for _, width in self._first_symbols(piece)])
        found, at = [], 0
        for index in ids:
            end = at + sum(islice(widths, self._sizes.get(index, 1)))
            found.append((index, places[at], places[end - 1] + 1))
            at = end
        return found

    def to_json(self) -> dict[str, Any]:
        """The model as tokenizer.json writes it."""
        as_lists = any(" " in token for pair in self.merges for token in pair)
        merges = [list(pair) if as_lists else " ".join(pair) for pair in self.merges]
        return {"type": "BPE", **self.options, "vocab": self.vocab, "merges": merges}
