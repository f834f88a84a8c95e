"""Unigram (유니그램): every piece has a probability, and a text is spelled in the likeliest way.

    best(spelling) = argmax sum log p(piece)          "▁unlock" -> "▁un" "lock", if p(▁un) p(lock) beats all others

A sum over neighbours only, so the best way to each place is the best way to some earlier place and one piece more:
Viterbi's dynamic programme, `viterbi`. A character that is no piece may stand alone at the lowest score of all less 10;
neighbours of that kind become one unknown token, or their bytes <0xED><0x95><0x9C> (byte fallback). Encoding runs it
in compiled code (unigram_trie.py), and only for words that were not seen before.

Book: 2.2.1 토큰화. Paper: Kudo 2018 (subword regularization). Held against: tokenizers, sentencepiece.
Left out: sampling from the spellings (n-best, alpha).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minillm._checks import check_flag, check_int, describe
from minillm.tokenizer.added import AddedToken
from minillm.tokenizer.base import Tokenizer
from minillm.tokenizer.batch import check_corpus
from minillm.tokenizer.special import check_special_tokens, encode_text
from minillm.tokenizer.unigram_train import learn_pieces
from minillm.tokenizer.unigram_trie import PieceTrie
from minillm.tokenizer.wordpiece_train import count_words

if TYPE_CHECKING:
    from minillm.tokenizer.pre_tokenizers import Sequence as PreTokenizer

UNKNOWN_PENALTY = 10.0
_REMEMBERED = 1 << 16  # pieces of text that are kept


def viterbi(text: str, scores: Mapping[str, float], unknown: float, longest: int = 1 << 30) -> list[str]:
    """The likeliest spelling: pieces that are keys of `scores` (of `longest` characters at most), and single
    characters at the score `unknown`."""
    best, begins = [0.0] + [-math.inf] * len(text), [0] * (len(text) + 1)
    for start in range(len(text)):
        for end in range(start + 1, min(len(text), start + longest) + 1):
            piece = text[start:end]
            score = scores.get(piece, unknown if end == start + 1 else -math.inf)
            if best[start] + score > best[end]:
                best[end], begins[end] = best[start] + score, start
    pieces: list[str] = []
    end = len(text)
    while end > 0:
        pieces.append(text[begins[end] : end])
        end = begins[end]
    return pieces[::-1]


class Unigram:
    """Pieces with scores, and the words seen before."""

    def __init__(
        self, pieces: Sequence[tuple[str, float]], unk_id: int | None = None, byte_fallback: bool = False
    ) -> None:
        """`pieces[i]` are the spelling and the log-probability of id i; `unk_id` is what unknown characters become.

        Raises:
            ValueError: no pieces, one twice, a score that is no finite number, `unk_id` out of range.
        """
        self.pieces = [_checked(number, piece) for number, piece in enumerate(pieces)]
        self.vocab = {piece: index for index, (piece, _) in enumerate(self.pieces)}
        if not self.pieces:
            raise ValueError("the vocabulary has no pieces")
        if len(self.vocab) < len(self.pieces):
            twice = next(piece for i, (piece, _) in enumerate(self.pieces) if self.vocab[piece] != i)
            raise ValueError(f"piece {twice!r} is listed twice")
        self.unk_id = None if unk_id is None else check_int("unk_id", unk_id, 0, len(self.pieces) - 1)
        self.byte_fallback = check_flag("byte_fallback", byte_fallback)
        self.unknown_score = min(score for _, score in self.pieces) - UNKNOWN_PENALTY
        byte_ids = [self.vocab.get(f"<0x{byte:02X}>") for byte in range(256)]
        self._byte_ids = byte_ids if byte_fallback else [None] * 256
        self._scores = {piece: score for piece, score in self.pieces if piece}
        self._longest = max(map(len, self._scores), default=1)
        self._known: dict[str, list[int]] = {}
        self._trie: PieceTrie | None = None

    def leave_out(self, names: Iterable[str]) -> None:
        """These pieces keep their ids, but no text is spelled with them."""
        for name in names:
            self._scores.pop(name, None)
        self._trie = None

    def encode(self, text: str, pre_tokenizer: PreTokenizer, starts: bool = True) -> list[int]:
        """The ids of `text`, in which no added tokens are looked for; `starts`: it begins where the input begins."""
        pieces = pre_tokenizer(text, starts)
        known = self._known
        new = [piece for piece in dict.fromkeys(pieces) if piece not in known]
        if new:
            if self._trie is None:
                self._trie = PieceTrie(self._scores, self.unknown_score)
            ids = [[index for index, _, _ in self._tokens(way)] for way in self._trie.spell(new)]
            known.update(zip(new, ids))
            if len(known) > _REMEMBERED:
                self._known = {}  # the words of this text are looked up below, and then forgotten
        found: list[int] = []
        for piece in pieces:
            found += known[piece]
        return found

    def trace(self, piece: str) -> list[tuple[int, int, int]]:
        """(id, start, end) of each token of one piece of text, by the plain `viterbi`."""
        return self._tokens(viterbi(piece, self._scores, self.unknown_score, self._longest))

    def _tokens(self, way: Sequence[str]) -> list[tuple[int, int, int]]:
        """(id, start, end) of each token of a spelling; neighbours that are unknown are one, or are their bytes."""
        found: list[tuple[int, int, int]] = []
        start = 0
        for spelled in self._fused(way):
            end = start + len(spelled)
            if spelled in self._scores:
                found.append((self.vocab[spelled], start, end))
            else:
                ids = [self._byte_ids[byte] for byte in spelled.encode("utf-8")]
                if None in ids:
                    ids = [self.unk_id]
                if ids == [None]:
                    raise ValueError(f"{spelled!r} is no token, and this vocabulary has no unknown token")
                found += [(index, start, end) for index in ids]
            start = end
        return found

    def _fused(self, way: Sequence[str]) -> list[str]:
        spelled: list[str] = []
        joins = False
        for part in way:
            known = part in self._scores and self.vocab[part] != self.unk_id
            unknown = self.unk_id is not None and not known
            if unknown and joins:
                spelled[-1] += part
            else:
                spelled.append(part)
            joins = unknown
        return spelled

    def to_json(self) -> dict[str, Any]:
        """The model as tokenizer.json writes it."""
        vocab = [[piece, score] for piece, score in self.pieces]
        return {"type": "Unigram", "unk_id": self.unk_id, "vocab": vocab, "byte_fallback": self.byte_fallback}


def _checked(number: int, entry: Any) -> tuple[str, float]:
    piece, score = entry if isinstance(entry, (tuple, list)) and len(entry) == 2 else (None, None)
    real = isinstance(score, (int, float)) and not isinstance(score, bool) and math.isfinite(score)
    if not isinstance(piece, str) or not real:
        raise ValueError(
            f"piece {number} must be a str and its score, a finite number; got {describe(entry)}"
        )
    encode_text(piece, "a piece")
    return piece, float(score)


class UnigramTokenizer(Tokenizer):
    """A Unigram tokenizer. Make one with `train`, `from_vocab` or `load_tokenizer`."""

    model: Unigram

    def __init__(
        self,
        model: Unigram,
        added_tokens: Iterable[AddedToken] = (),
        layout: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(model, added_tokens, layout)
        model.leave_out(self.special_tokens)  # no text is spelled with them, recognised or not

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        special_tokens: Iterable[str] = ("<pad>", "</s>", "<unk>"),
        unk_token: str = "<unk>",
        bos_token: str | None = None,
        eos_token: str | None = "</s>",
        normalizer: Mapping[str, Any] | None = None,
        max_piece_length: int = 16,
    ) -> UnigramTokenizer:
        """Learn pieces and their probabilities from `texts`, which are read once, one by one, and not kept.

        Args:
            texts: iterable of str. No piece crosses two texts, a blank, or a special token found in a text.
            vocab_size: ids in all: special tokens and pieces. Fewer come out of a corpus that has no more pieces.
            special_tokens: the first ids; `unk_token` is among them.
            bos_token, eos_token, normalizer: as in `from_vocab`.
            max_piece_length: characters of the longest piece.

        Raises:
            ValueError: `texts` is a str, holds something else than str, or no character; `vocab_size` is below the
                special tokens and the different characters; another argument is out of its range.
        """
        names = check_special_tokens(special_tokens)
        check_int("vocab_size", vocab_size, 1)
        check_int("max_piece_length", max_piece_length, 1)
        if unk_token not in names:
            raise ValueError(f"unk_token {describe(unk_token)} is not among the special tokens")
        layout = metaspace_layout(normalizer or NFKC_ONE_BLANK, names, bos_token, eos_token)
        words = count_words(check_corpus(texts), names, layout)
        characters = set("".join(words))
        if not characters:
            raise ValueError("texts have no character to learn from")
        if vocab_size < len(names) + len(characters):
            raise ValueError(
                f"vocab_size must be at least {len(names) + len(characters)} for {len(names)} special tokens and "
                f"{len(characters)} characters, got {vocab_size}"
            )
        pieces = learn_pieces(words, vocab_size, len(names), max_piece_length)
        return cls(
            Unigram([*((name, 0.0) for name in names), *pieces], names.index(unk_token)),
            [AddedToken(index, name) for index, name in enumerate(names)],
            layout,
        )

    @classmethod
    def from_vocab(
        cls,
        pieces_and_scores: Sequence[tuple[str, float]],
        unk_token: str | None = "<unk>",
        bos_token: str | None = None,
        eos_token: str | None = "</s>",
        pad_token: str | None = "<pad>",
        byte_fallback: bool = False,
        normalizer: Mapping[str, Any] | None = None,
    ) -> UnigramTokenizer:
        """A tokenizer from pieces and their log-probabilities, in the order of ids.

        Blanks become ▁ at the front of their word; `normalizer` is written as in tokenizer.json, None is NFKC with runs
        of blanks made one. Calling the tokenizer puts `bos_token` in front and `eos_token` behind each text, if they
        are given and are pieces. Special tokens that are no pieces are left out, but for the unknown one.

        Raises:
            ValueError: the pieces are no list of (str, number), one is listed twice, `unk_token` is not among them.
        """
        names = [piece for piece, _ in pieces_and_scores] if _is_pairs(pieces_and_scores) else []
        if unk_token is not None and unk_token not in names:
            raise ValueError(f"unk_token {unk_token!r} is not among the {len(names)} pieces")
        unk_id = None if unk_token is None else names.index(unk_token)
        wanted = [name for name in (pad_token, bos_token, eos_token, unk_token) if name in names]
        added = [AddedToken(names.index(name), name) for name in dict.fromkeys(wanted)]
        return cls(
            Unigram(pieces_and_scores, unk_id, byte_fallback),
            sorted(added, key=lambda token: token.id),
            metaspace_layout(normalizer or NFKC_ONE_BLANK, names, bos_token, eos_token),
        )


NFKC_ONE_BLANK = {
    "type": "Sequence",
    "normalizers": [
        {"type": "NFKC"},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
    ],
}


def _is_pairs(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(entry, (list, tuple)) and len(entry) == 2 for entry in value
    )


def metaspace_layout(
    normalizer: Mapping[str, Any], names: Sequence[str], bos: str | None, eos: str | None
) -> dict[str, Any]:
    """The parts of a tokenizer whose words begin with ▁, and whose texts stand between `bos` and `eos`."""
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    around = {name: names.index(name) for name in (bos, eos) if name in names}

    def part(text: str) -> list[dict[str, Any]]:
        return [
            *([{"SpecialToken": {"id": bos, "type_id": 0}}] if bos in around else []),
            {"Sequence": {"id": text, "type_id": 0}},
            *([{"SpecialToken": {"id": eos, "type_id": 0}}] if eos in around else []),
        ]

    template = {
        "type": "TemplateProcessing",
        "single": part("A"),
        "pair": part("A") + part("B"),
        "special_tokens": {name: {"id": name, "ids": [i], "tokens": [name]} for name, i in around.items()},
    }
    return {
        "normalizer": dict(normalizer),
        "pre_tokenizer": metaspace,
        "post_processor": template if around else None,
        "decoder": metaspace,
    }
