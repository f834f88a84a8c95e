"""BPETokenizer: BPE (바이트 쌍 인코딩) as a user meets it: train, open files, and what only a byte-level one can do.

    text --special tokens cut out--> parts --pattern--> pieces --merges--> ids          decode: ids -> bytes -> text

What is trained here is byte-level: the first 256 ordinary tokens are the 256 bytes, so every text has ids and comes
back whole, in any script. `load_tokenizer` opens the other kinds too (characters with byte fallback, say).

Encoding is read in two files: base.py (`Tokenizer.encode`: the parts) and bpe_encode.py (`BPE.encode`: cut and
merge). Training: bpe_plain.py is the algorithm, bpe_train_fast.py the same compiled.

Ids are laid out as the tokenizers library does: special tokens, the bytes in the order of `ALPHABET`, the merges.

Book: 2.2.1 토큰화. Paper: Radford et al. 2019 (GPT-2). Held against: tiktoken, tokenizers, transformers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from minillm._checks import check_int, describe, is_listing
from minillm._files import BadFileError, read_bytes, read_json
from minillm.tokenizer.added import AddedToken
from minillm.tokenizer.base import Tokenizer
from minillm.tokenizer.batch import check_corpus
from minillm.tokenizer.bpe_encode import BPE
from minillm.tokenizer.bpe_plain import Pair
from minillm.tokenizer.bpe_train_fast import learn_merges_fast
from minillm.tokenizer.byte_alphabet import ALPHABET, BYTE_TO_CHARACTER, to_bytes, to_characters
from minillm.tokenizer.special import check_special_tokens, encode_text, ordinary_parts
from minillm.tokenizer.splitting import GPT2_PATTERN, compile_pattern, split
from minillm.tokenizer.word_table import count_words_fast

CHARACTERS = frozenset(BYTE_TO_CHARACTER)
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


class BPETokenizer(Tokenizer):
    """A trained BPE tokenizer. Make one with `train`, `from_files` or `load_tokenizer`.

    merges: pairs in the order they were learned, of bytes if the vocabulary is byte-level, else of str.
    pattern: how text is cut into pieces; None where a file asks for more than one pattern.
    """

    model: BPE

    def __init__(
        self,
        tokens: Sequence[bytes],
        merges: Sequence[Pair],
        special_tokens: Mapping[str, int],
        pattern: str = GPT2_PATTERN,
    ) -> None:
        """A byte-level tokenizer: `tokens[i]` are the bytes of id i, merges come in the order they were learned.

        Raises:
            ValueError: a byte without a token, two ids for one token, a merge whose parts or result are no tokens,
                a special token that is also an ordinary one with another id, or a bad pattern.
        """
        compile_pattern(pattern)
        pairs = list(merges) if is_listing(merges) else [None]
        if not is_listing(tokens) or not all(isinstance(token, bytes) for token in tokens):
            raise ValueError(f"tokens must be a list of bytes, got {describe(tokens)}")
        if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
            raise ValueError(f"merges must be a list of pairs of bytes, got {describe(merges)}")
        if not isinstance(special_tokens, Mapping):
            raise ValueError(f"special_tokens must map str to ids, got {describe(special_tokens)}")
        specials = {index: name for name, index in special_tokens.items()}
        vocab: dict[str, int] = {}
        for index, token in enumerate(tokens):
            name = specials.get(index, to_characters(token))
            if vocab.setdefault(name, index) != index:
                if name in special_tokens:
                    raise ValueError(
                        f"special token {name!r} is also an ordinary token; choose another string"
                    )
                raise ValueError(f"token {token!r} has two ids, {vocab[name]} and {index}")
        merged = [(bytes(left), bytes(right)) for left, right in pairs]
        spelled = dict.fromkeys(chain(*merged))  # each token once: most stand in several merges
        spelled = dict(zip(spelled, map(to_characters, spelled)))
        model = BPE(vocab, [(spelled[left], spelled[right]) for left, right in merged])
        model.check_bytes()
        self._set_up(
            model,
            [AddedToken(index, name) for name, index in special_tokens.items()],
            {"pre_tokenizer": byte_level_cut(pattern), "decoder": _BYTE_LEVEL},
            merged,
        )

    def _set_up(
        self,
        model: BPE,
        added_tokens: Iterable[AddedToken],
        layout: Mapping[str, Any],
        merges: list[Pair] | None = None,
    ) -> None:
        super().__init__(model, added_tokens, layout)
        self.pattern: str | None = self.pre_tokenizer.pattern
        self.merges: list = model.merges if merges is None else merges
        byte_level = merges is None and self.pre_tokenizer.byte_level
        if byte_level and all(map(CHARACTERS.issuperset, chain(*model.merges))):
            self.merges = [(to_bytes(left), to_bytes(right)) for left, right in model.merges]

    @classmethod
    def from_parts(
        cls, model: BPE, added_tokens: Iterable[AddedToken] = (), layout: Mapping[str, Any] | None = None
    ) -> BPETokenizer:
        """Any BPE tokenizer: its model, its added tokens, and its other parts as tokenizer.json describes them."""
        tokenizer = cls.__new__(cls)
        tokenizer._set_up(model, added_tokens, layout or {})
        return tokenizer

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
            pattern: how text is cut into pieces before merging, read as the tokenizers library reads it.
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
        parts = ordinary_parts(check_corpus(texts), frozenset(names))
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
            merges = [line for line in lines if line and not line.startswith("#version")]
            model = BPE(check_vocab(vocab), read_merges(merges))
            model.check_bytes()
            tokenizer = cls.from_parts(
                model,
                added_after(model.vocab, names),
                {"pre_tokenizer": byte_level_cut(pattern), "decoder": _BYTE_LEVEL},
            )
            made = {left + right for left, right in model.merges} | set(BYTE_TO_CHARACTER) | set(names)
            if lost := [token for token in model.vocab if token not in made]:
                raise ValueError(
                    f"no merge makes {len(lost)} of the tokens (first: {lost[0]!r}): merges are missing"
                )
            return tokenizer
        except ValueError as error:
            raise BadFileError(
                f"{str(vocab_json)!r} and {str(merges_txt)!r} make no tokenizer: {error}"
            ) from None

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of any bytes, UTF-8 or not; `decode_bytes` gives them back. Special tokens are ordinary here.

        A byte that is no part of a UTF-8 character counts as a sign (neither letter, digit nor blank) when the
        text is cut into pieces. Raises ValueError for what is no bytes, where the vocabulary lacks one, and where a
        text is changed or cut in another way than by one pattern.
        """
        if not isinstance(data, (bytes, bytearray)):
            raise ValueError(f"data must be bytes, got {describe(data)}")
        if self.pattern is None or self.normalizer is not None:
            raise ValueError(
                "encode_bytes needs a byte-level tokenizer without a normalizer, cut by one pattern"
            )
        self.model.check_bytes()
        pieces = split(bytes(data).decode("utf-8", "surrogateescape"), self.pattern)
        lengths = [len(piece.encode("utf-8", "surrogateescape")) for piece in pieces]
        return self.model.encode_pieces(bytes(data), np.cumsum(lengths, dtype=np.int64))


def byte_level_cut(pattern: str) -> dict[str, Any]:
    """The pre-tokenizer of a byte-level tokenizer that cuts by `pattern`, as tokenizer.json writes it."""
    if pattern == GPT2_PATTERN:
        return dict(_BYTE_LEVEL)
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [cut, {**_BYTE_LEVEL, "use_regex": False}]}


def check_vocab(vocab: Any) -> dict[str, int]:
    """A vocabulary of a file, {token: id}; ValueError when it is something else."""
    if not isinstance(vocab, dict) or not all(type(index) is int for index in vocab.values()):
        raise ValueError(f"the vocabulary must map tokens to integer ids, got {describe(vocab)}")
    if vocab and not 0 <= min(vocab.values()) <= max(vocab.values()) < 1 << 31:
        raise ValueError(f"the {len(vocab)} tokens must have the ids 0 to {len(vocab) - 1}, each once")
    encode_text("".join(vocab), "the vocabulary")
    return vocab


def read_merges(merges: Sequence[Any]) -> list[tuple[str, str]]:
    """Merges of a file, each "left right" or ["left", "right"], as pairs; ValueError for anything else."""
    pairs = []
    for number, merge in enumerate(merges):
        if isinstance(merge, str):
            if merge.startswith("#version"):
                continue
            merge = merge.split(" ")
        if not isinstance(merge, list) or len(merge) != 2 or not all(isinstance(t, str) and t for t in merge):
            raise ValueError(f"merge {number} must be two tokens, got {describe(merge)}")
        pairs.append((merge[0], merge[1]))
    return pairs


def added_after(vocab: Mapping[str, int], names: Iterable[str]) -> list[AddedToken]:
    """Special tokens `names` with the ids they have in `vocab`, or the next free ones."""
    ids = dict(vocab)
    return [AddedToken(ids.setdefault(name, len(ids)), name) for name in names]
