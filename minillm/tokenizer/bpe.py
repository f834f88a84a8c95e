"""BPETokenizer: byte-level BPE (바이트 수준 BPE) as a user meets it: train, encode, decode, save.

    text --special tokens cut out--> parts --pattern--> pieces --merges--> ids          decode: ids -> bytes -> text

Because the first 256 ordinary tokens are the 256 bytes, every text has ids and comes back whole, in any script.
The ideas live in files of their own: byte_alphabet.py, splitting.py, bpe_plain.py (the algorithm), bpe_train_fast.py
and bpe_encode.py (the same, compiled), special.py, streaming.py, tokenizer_json.py, batch.py.

Ids are laid out as the tokenizers library does: special tokens, the bytes in the order of `ALPHABET`, the merges.

Book: 2.2.1 토큰화. Paper: Radford et al. 2019 (GPT-2). Held against: tiktoken, tokenizers, transformers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minillm._checks import check_flag, check_int, check_text, describe, is_listing
from minillm._files import BadFileError, read_bytes, read_json
from minillm.tokenizer.batch import check_ids, check_texts, encode_for_model
from minillm.tokenizer.bpe_encode import PieceEncoder
from minillm.tokenizer.bpe_plain import Pair
from minillm.tokenizer.bpe_train_fast import learn_merges_fast
from minillm.tokenizer.byte_alphabet import ALPHABET, to_bytes, to_characters
from minillm.tokenizer.special import (
    allowed_tokens,
    check_special_tokens,
    encode_text,
    ordinary_parts,
    split_special,
)
from minillm.tokenizer.splitting import GPT2_PATTERN, compile_pattern, piece_ends, split
from minillm.tokenizer.streaming import encode_stream
from minillm.tokenizer.word_table import count_words_fast


class BPETokenizer:
    """A trained byte-level BPE tokenizer. Make one with `train`, `from_files` or `load_tokenizer`."""

    def __init__(
        self,
        tokens: Sequence[bytes],
        merges: Sequence[Pair],
        special_tokens: Mapping[str, int],
        pattern: str = GPT2_PATTERN,
    ) -> None:
        """`tokens[i]` are the bytes of id i, merges come in the order they were learned, special tokens with ids.

        Raises:
            ValueError: a byte without a token, two ids for one token, a merge whose parts or result are no tokens,
                a special token that is also an ordinary one, or a bad pattern.
        """
        compile_pattern(pattern)
        pairs = list(merges) if is_listing(merges) else [None]
        if not is_listing(tokens) or not all(isinstance(token, bytes) for token in tokens):
            raise ValueError(f"tokens must be a list of bytes, got {describe(tokens)}")
        if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
            raise ValueError(f"merges must be a list of pairs of bytes, got {describe(merges)}")
        if not isinstance(special_tokens, Mapping):
            raise ValueError(f"special_tokens must map str to ids, got {describe(special_tokens)}")
        self.pattern: str = pattern
        self.special_tokens: dict[str, int] = dict(special_tokens)
        self._tokens: list[bytes] = list(tokens)
        special_ids = set(self.special_tokens.values())
        self._special_ids: frozenset[int] = frozenset(special_ids)
        self._ids: dict[bytes, int] = {}
        for index, token in enumerate(self._tokens):
            if index in special_ids:
                continue
            if self._ids.setdefault(token, index) != index:
                raise ValueError(f"token {token!r} has two ids, {self._ids[token]} and {index}")
        missing = [byte for byte in range(256) if bytes([byte]) not in self._ids]
        if missing:
            raise ValueError(
                f"the vocabulary lacks {len(missing)} of the 256 bytes (first: 0x{missing[0]:02x}), so some text "
                "would be lost; with tokenizers, train with initial_alphabet=ByteLevel.alphabet()"
            )
        self._names: dict[str, int] = {to_characters(token): index for token, index in self._ids.items()}
        for name, index in self.special_tokens.items():
            if self._names.setdefault(name, index) != index:
                raise ValueError(f"special token {name!r} is also an ordinary token; choose another string")
        self.merges: list[Pair] = [(bytes(left), bytes(right)) for left, right in pairs]
        pairs, results = [], []
        for left, right in self.merges:
            if not {left, right, left + right} <= self._ids.keys():
                raise ValueError(f"merge {left!r} + {right!r} needs a token that the vocabulary lacks")
            pairs.append((self._ids[left], self._ids[right]))
            results.append(self._ids[left + right])
        self._encoder = PieceEncoder([self._ids[bytes([byte])] for byte in range(256)], pairs, results)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        special_tokens: Iterable[str] = ("<|endoftext|>",),
        pattern: str = GPT2_PATTERN,
        min_frequency: int = 1,
    ) -> BPETokenizer:
        """Learn a vocabulary from `texts`, which are read once, one by one, and not kept.

        Ties between equally frequent pairs go to the greatest pair of byte strings. No merge crosses two texts, two
        pieces of `pattern`, or a special token found in a text.

        Args:
            texts: iterable of str; a generator over files does.
            vocab_size: ids in all: special tokens + 256 bytes + merges. Fewer come out when the corpus is so small
                that no pair is left to merge.
            special_tokens: strings that become one id each, the first ids.
            pattern: how text is cut into pieces before merging.
            min_frequency: a pair seen less often than this is not merged.

        Raises:
            ValueError: `texts` is a str or holds something else than str, a text has a lone surrogate, `vocab_size`
                is below the special tokens + 256, or another argument is out of its range.
        """
        names = check_special_tokens(special_tokens)
        smallest = 256 + len(names)  # the bytes and the special tokens
        vocab_size = check_int("vocab_size", vocab_size, smallest)
        min_frequency = check_int("min_frequency", min_frequency, minimum=0)
        compile_pattern(pattern)
        parts = ordinary_parts(check_texts(texts), frozenset(names))
        merges = learn_merges_fast(count_words_fast(parts, pattern), vocab_size - smallest, min_frequency)
        tokens = dict.fromkeys(
            [bytes([byte]) for byte in ALPHABET] + [left + right for left, right in merges]
        )
        return cls(
            [name.encode("utf-8") for name in names] + list(tokens),
            merges,
            {name: index for index, name in enumerate(names)},
            pattern,
        )

    @classmethod
    def from_files(
        cls,
        vocab_json: str | Path,
        merges_txt: str | Path,
        special_tokens: Iterable[str] = ("<|endoftext|>",),
        pattern: str = GPT2_PATTERN,
    ) -> BPETokenizer:
        """Open GPT-2's pair of files: vocab.json (printable token -> id) and merges.txt (one "left right" a line).

        A special token that vocab.json lacks gets the next free id.

        Raises:
            BadFileError: a file is missing, cut short, or does not fit the other.
        """
        names = check_special_tokens(special_tokens)
        vocab = read_json(vocab_json, "vocabulary")
        data = read_bytes(merges_txt, "merges")
        try:
            text = data.decode("utf-8")
            lines = (line.rstrip("\r") for line in text.split("\n"))
            merges = [line.split(" ") for line in lines if line and not line.startswith("#version")]
            tokenizer = build_tokenizer(vocab, merges, names, pattern)
            made = {left + right for left, right in tokenizer.merges}
            if lost := [token for token in tokenizer._ids if len(token) > 1 and token not in made]:
                raise ValueError(
                    f"no merge makes {len(lost)} of the tokens (first: {lost[0]!r}): merges are missing"
                )
            return tokenizer
        except ValueError as error:
            raise BadFileError(
                f"{str(vocab_json)!r} and {str(merges_txt)!r} make no tokenizer: {error}"
            ) from None

    # --- text to ids ------------------------------------------------------------------------------------------

    def encode(self, text: str, allowed_special: str | Collection[str] = "all") -> list[int]:
        """The ids of `text`.

        `allowed_special` says which special tokens are recognised: "all", or a set of them; the others, and with
        `()` all, are ordinary text, as in tiktoken with disallowed_special=().

        Raises:
            ValueError: `text` is no str or has a lone surrogate; `allowed_special` names an unknown token.
        """
        encode_text(text)
        ids: list[int] = []
        for part, special in split_special(text, allowed_tokens(allowed_special, self.special_tokens)):
            if special:
                ids.append(self.special_tokens[part])
            else:
                ids += self.encode_pieces(*self.cut(part))
        return ids

    def cut(self, text: str) -> tuple[bytes, np.ndarray]:
        """`text` as UTF-8, and where its pieces end, int64 (pieces,); special tokens are not looked for."""
        data = text.encode("utf-8")
        if self.pattern == GPT2_PATTERN:
            return data, piece_ends(data)
        lengths = [len(piece.encode("utf-8")) for piece in split(text, self.pattern)]
        return data, np.cumsum(lengths, dtype=np.int64)

    def encode_pieces(self, data: bytes, ends: np.ndarray) -> list[int]:
        """The ids of `data` that is cut already: its pieces end at `ends`, int64, rising."""
        return self._encoder.encode(data, ends)

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of any bytes, UTF-8 or not; `decode_bytes` gives them back. Special tokens are ordinary here.

        A byte that is no part of a UTF-8 character counts as a sign (neither letter, digit nor blank) when the
        text is cut into pieces.
        """
        if not isinstance(data, (bytes, bytearray)):
            raise ValueError(f"data must be bytes, got {describe(data)}")
        pieces = split(bytes(data).decode("utf-8", "surrogateescape"), self.pattern)
        lengths = [len(piece.encode("utf-8", "surrogateescape")) for piece in pieces]
        return self._encoder.encode(bytes(data), np.cumsum(lengths, dtype=np.int64))

    def encode_batch(
        self, texts: Iterable[str], allowed_special: str | Collection[str] = "all"
    ) -> list[list[int]]:
        """The ids of each text, as `encode` gives them."""
        return [self.encode(text, allowed_special) for text in check_texts(texts)]

    def encode_iterable(
        self, texts: Iterable[str], allowed_special: str | Collection[str] = "all"
    ) -> Iterator[int]:
        """The ids of all `texts` joined (the lines of a file, say), one at a time, in constant memory.

        Equal to `encode("".join(texts))`: what the next text could still change is held back. See streaming.py.
        """
        allowed = allowed_tokens(allowed_special, self.special_tokens)
        return encode_stream(self, check_texts(texts), allowed)

    def __call__(
        self,
        texts: str | Sequence[str],
        text_pair: str | Sequence[str] | None = None,
        padding: bool | str = False,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
    ) -> dict[str, Any]:
        """A batch for a model: input_ids, attention_mask and token_type_ids; see `batch.encode_for_model`."""
        return encode_for_model(self, texts, text_pair, padding, truncation, max_length, return_tensors)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that `ids` spell, special tokens included. Raises ValueError for an id out of range."""
        return b"".join([self._tokens[index] for index in check_ids(ids, len(self._tokens))])

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text that `ids` spell; bytes that are not UTF-8 (a character cut in two) become U+FFFD.

        Raises:
            ValueError: `ids` is no sequence of integers in [0, vocab_size).
        """
        known = check_ids(ids, len(self._tokens))
        if check_flag("skip_special_tokens", skip_special_tokens):
            known = [index for index in known if index not in self._special_ids]
        return b"".join([self._tokens[index] for index in known]).decode("utf-8", "replace")

    # --- the vocabulary ---------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """How many ids there are, special tokens included."""
        return len(self._tokens)

    @property
    def vocab(self) -> dict[str, int]:
        """Printable token -> id, in the order of ids, as tokenizer.json holds it (a new dict)."""
        return dict(sorted(self._names.items(), key=lambda item: item[1]))

    @property
    def pad_token_id(self) -> int | None:
        """What fills a batch: `<pad>`, `<|pad|>` or `[PAD]` if it is a special token, else the first special token."""
        for name in ("<pad>", "<|pad|>", "[PAD]", *self.special_tokens):
            if name in self.special_tokens:
                return self.special_tokens[name]
        return None

    def token_to_id(self, token: str) -> int | None:
        """The id of a printable token (`"Ġthe"` for `b" the"`) or special token; None if there is none."""
        return self._names.get(check_text("token", token))

    def id_to_token(self, index: int) -> str:
        """The printable form of an id: `"Ġthe"` for `b" the"`. Raises ValueError for an id out of range."""
        index = check_int("id", index, 0, len(self._tokens) - 1)
        token = self._tokens[index]
        return token.decode("utf-8") if index in self._special_ids else to_characters(token)

    def save(self, path: str | Path) -> Path:
        """Write tokenizer.json, whole or not at all, into the folder `path` or to the file `path` (if it ends in
        .json). tokenizers and transformers open it. Returns the file's path."""
        from minillm.tokenizer.tokenizer_json import save_tokenizer

        return save_tokenizer(self, path)

    def __repr__(self) -> str:
        return f"BPETokenizer(vocab_size={self.vocab_size}, special_tokens={list(self.special_tokens)})"


def build_tokenizer(
    vocab: Any, merges: Sequence[Sequence[str]], special_tokens: Iterable[str], pattern: str
) -> BPETokenizer:
    """A tokenizer from printable tokens: vocab {token: id}, merges [(left, right)]; ValueError if they do not fit."""
    if not isinstance(vocab, dict) or not all(type(index) is int for index in vocab.values()):
        raise ValueError(f"the vocabulary must map tokens to integer ids, got {describe(vocab)}")
    vocab = dict(vocab)
    special = {name: vocab.setdefault(name, len(vocab)) for name in special_tokens}
    names = {index: name for name, index in vocab.items()}
    if sorted(names) != list(range(len(vocab))):
        raise ValueError(f"the {len(vocab)} tokens must have the ids 0 to {len(vocab) - 1}, each once")
    tokens = []
    for index in range(len(vocab)):
        name = names[index]
        tokens.append(name.encode("utf-8") if name in special else to_bytes(name))
    pairs = []
    for number, merge in enumerate(merges):
        if len(merge) != 2 or not all(isinstance(token, str) and token for token in merge):
            raise ValueError(f"merge {number} must be two tokens, got {describe(merge)}")
        pairs.append((to_bytes(merge[0]), to_bytes(merge[1])))
    return BPETokenizer(tokens, pairs, special, pattern)
