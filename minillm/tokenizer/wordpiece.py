"""WordPiece (워드피스): BERT's model. The longest token that begins the word, then the longest that goes on, and so on.

    "unaffable" -> "un" "##aff" "##able"            ## marks a token that goes on inside a word
    a word that cannot be spelled this way, or of more than 100 characters, is [UNK] as a whole

Unlike BPE nothing of the training is replayed: encoding needs the vocabulary alone. `longest_match` is the rule;
`WordPiece` is the model, `WordPieceTokenizer` what a user meets. The speed comes from remembering: whatever lies
between two blanks of the raw text is looked up first, and only what was not seen before is normalised and cut.

Book: 2.2.1 토큰화. Papers: Schuster and Nakajima 2012; Devlin et al. 2018 (BERT). Held against: tokenizers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minillm._checks import check_int, check_text, describe
from minillm._files import BadFileError, read_bytes
from minillm.tokenizer.added import AddedToken, find_added
from minillm.tokenizer.base import Tokenizer
from minillm.tokenizer.batch import check_corpus
from minillm.tokenizer.normalizers import BertNormalizer
from minillm.tokenizer.pre_tokenizers import BertPreTokenizer
from minillm.tokenizer.special import check_special_tokens
from minillm.tokenizer.wordpiece_train import count_words, learn_wordpieces

if TYPE_CHECKING:
    from minillm.tokenizer.pre_tokenizers import Sequence as PreTokenizer

_REMEMBERED, _WORD = 1 << 16, 32  # words that are kept, and the characters of the longest of them
OPTIONS: dict[str, Any] = {
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
}


def longest_match(word: str, vocab: Mapping[str, int], prefix: str = "##") -> list[str] | None:
    """The tokens that spell `word`, each the longest that fits; None where none fits.

    vocab: anything that holds tokens, a dict or a set. Raises ValueError for a text in its place: it holds pieces that
    are no tokens.
    """
    check_text("word", word)
    check_text("prefix", prefix)
    if isinstance(vocab, (str, bytes)) or not hasattr(vocab, "__contains__"):
        raise ValueError(f"vocab must hold tokens, as a dict or a set, got {describe(vocab)}")
    tokens: list[str] = []
    start = 0
    while start < len(word):
        end = len(word)
        while end > start and (prefix if start else "") + word[start:end] not in vocab:
            end -= 1
        if end == start:
            return None
        tokens.append((prefix if start else "") + word[start:end])
        start = end
    return tokens


class WordPiece:
    """A vocabulary, and the words seen before."""

    def __init__(self, vocab: Mapping[str, int], options: Mapping[str, Any] = OPTIONS) -> None:
        """`vocab` maps tokens to ids; `options` are those of tokenizer.json.

        Raises:
            ValueError: an option that is not supported, or an unknown token that the vocabulary lacks.
        """
        self.vocab = dict(vocab)
        self.options = {**OPTIONS, **options}
        if strange := sorted(self.options.keys() - OPTIONS.keys()):
            raise ValueError(f"model.{strange[0]} {describe(self.options[strange[0]])} is not supported")
        self.prefix = check_text("model.continuing_subword_prefix", self.options["continuing_subword_prefix"])
        unknown = check_text("model.unk_token", self.options["unk_token"])
        self.longest = check_int(
            "model.max_input_chars_per_word", self.options["max_input_chars_per_word"], 0
        )
        if unknown not in self.vocab:
            raise ValueError(f"model.unk_token {unknown!r} is not in the vocabulary")
        self.unknown = self.vocab[unknown]
        self._widest = max(map(len, self.vocab))
        self._known: dict[str, list[int]] = {}

    def encode(self, text: str, pre_tokenizer: PreTokenizer, starts: bool = True) -> list[int]:
        """The ids of `text`, in which no added tokens are looked for; `starts`: it begins where the input begins."""
        return [index for piece in pre_tokenizer(text, starts) for index in self.encode_piece(piece)]

    def encode_piece(self, piece: str) -> list[int]:
        """The ids of one word."""
        ids = self._known.get(piece)
        if ids is None:
            ids = [index for index, _, _ in self.trace(piece)]
            if len(piece) <= _WORD:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[piece] = ids
        return ids

    def trace(self, piece: str) -> list[tuple[int, int, int]]:
        """(id, start, end) of each token of one word: `longest_match` with places, and no longer tries than needed."""
        unknown = [(self.unknown, 0, len(piece))]
        if len(piece) > self.longest:
            return unknown
        vocab, found, start, prefix = self.vocab, [], 0, ""
        while start < len(piece):
            end = min(len(piece), start + self._widest)
            while end > start and prefix + piece[start:end] not in vocab:
                end -= 1
            if end == start:
                return unknown
            found.append((vocab[prefix + piece[start:end]], start, end))
            start, prefix = end, self.prefix
        return found

    def to_json(self) -> dict[str, Any]:
        """The model as tokenizer.json writes it."""
        return {"type": "WordPiece", **self.options, "vocab": self.vocab}


_CHUNK = re.compile(r"[^ \t\n\r]+")  # whatever BERT's normalizer does, it does inside of these


class WordPieceTokenizer(Tokenizer):
    """BERT's tokenizer. Make one with `train`, `from_vocab` or `load_tokenizer`.

    `encode` gives the ids of a text alone; calling puts [CLS] in front and [SEP] behind, and marks the second text
    of a pair with token type 1.
    """

    model: WordPiece

    def __init__(
        self,
        model: WordPiece,
        added_tokens: Iterable[AddedToken] = (),
        layout: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(model, added_tokens, layout)
        steps = self.pre_tokenizer.steps
        self._by_chunk = (
            isinstance(self.normalizer, BertNormalizer)
            and len(steps) == 1
            and isinstance(steps[0], BertPreTokenizer)
            and not any(token.normalized for token in self.added_tokens.values())
        )
        self._chunks: dict[str, list[int]] = {}

    @classmethod
    def from_vocab(
        cls,
        vocab_txt: str | Path | Mapping[str, int],
        lowercase: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
        clean_text: bool = True,
        unk_token: str = "[UNK]",
        sep_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        cls_token: str = "[CLS]",
        mask_token: str = "[MASK]",
        wordpieces_prefix: str = "##",
    ) -> WordPieceTokenizer:
        """Open BERT's vocab.txt, one token a line (or take a vocabulary, token -> id).

        `lowercase` (True for uncased models) and `strip_accents` (None: as `lowercase`) must be those of the model.
        The special tokens that the vocabulary has are added tokens; it must have the unknown, start and end tokens.

        Raises:
            BadFileError: the file is missing, is no UTF-8 or lists a token twice.
            ValueError: a special token that the vocabulary lacks, an argument of the wrong type.
        """
        vocab = dict(vocab_txt) if isinstance(vocab_txt, Mapping) else read_vocab(vocab_txt)
        try:
            layout = bert_layout(
                vocab, cls_token, sep_token, wordpieces_prefix,
                {
                    "clean_text": clean_text, "handle_chinese_chars": tokenize_chinese_chars,
                    "strip_accents": strip_accents, "lowercase": lowercase,
                },
            )  # fmt: skip
            names = [pad_token, unk_token, cls_token, sep_token, mask_token]
            added = [AddedToken(vocab[name], name) for name in dict.fromkeys(names) if name in vocab]
            options = {"unk_token": unk_token, "continuing_subword_prefix": wordpieces_prefix}
            return cls(WordPiece(vocab, options), sorted(added, key=lambda token: token.id), layout)
        except ValueError as error:
            if isinstance(vocab_txt, Mapping):
                raise
            raise BadFileError(f"vocabulary {str(vocab_txt)!r} makes no tokenizer: {error}") from None

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        special_tokens: Iterable[str] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        min_frequency: int = 2,
        limit_alphabet: int | None = None,
        tokenize_chinese_chars: bool = True,
        clean_text: bool = True,
    ) -> WordPieceTokenizer:
        """Learn a vocabulary from `texts`, which are read once, one by one, and not kept.

        Args:
            texts: iterable of str. No token crosses two texts, two words, or a special token found in a text.
            vocab_size: ids in all: special tokens, characters (twice, plain and with ##), merged tokens. Fewer come
                out when no pair occurs `min_frequency` times.
            special_tokens: the first ids; [UNK], [CLS] and [SEP] are among them.
            limit_alphabet: keep that many characters at most, the commonest; words with others become [UNK].

        Raises:
            ValueError: `texts` is a str or holds something else than str, a text has a lone surrogate, `vocab_size`
                is below the special tokens and characters, or another argument is out of its range.
        """
        names = check_special_tokens(special_tokens)
        check_int("vocab_size", vocab_size, 1)
        check_int("min_frequency", min_frequency, 0)
        if limit_alphabet is not None:
            check_int("limit_alphabet", limit_alphabet, 1)
        options = {
            "clean_text": clean_text, "handle_chinese_chars": tokenize_chinese_chars,
            "strip_accents": strip_accents, "lowercase": lowercase,
        }  # fmt: skip
        ids = {name: index for index, name in enumerate(names)}
        layout = bert_layout(ids, "[CLS]", "[SEP]", "##", options)
        words = count_words(check_corpus(texts), names, layout)
        tokens = learn_wordpieces(words, vocab_size, names, min_frequency, limit_alphabet)
        if len(tokens) > vocab_size:
            raise ValueError(
                f"vocab_size must be at least {len(tokens)} for the special tokens and the characters (limit_alphabet "
                f"would keep fewer), got {vocab_size}"
            )
        return cls(
            WordPiece({token: index for index, token in enumerate(tokens)}),
            [AddedToken(index, name) for name, index in ids.items()],
            layout,
        )

    def encode_with(self, text: str, names: frozenset[str]) -> list[int]:
        if not self._by_chunk:
            return super().encode_with(text, names)
        (raw, pattern), _ = self._finder(names)
        known = self._chunks
        ids: list[int] = []
        for start, end, token in find_added(text, raw, pattern):
            if token is not None:
                ids.append(token.id)
                continue
            for chunk in _CHUNK.findall(text, start, end):
                found = known.get(chunk)
                ids += self._encode_chunk(chunk) if found is None else found
        return ids

    def _encode_chunk(self, chunk: str) -> list[int]:
        ids = self.model.encode(self.normalizer(chunk), self.pre_tokenizer)
        if len(chunk) <= _WORD:
            if len(self._chunks) >= _REMEMBERED:
                self._chunks.clear()
            self._chunks[chunk] = ids
        return ids


def bert_layout(
    vocab: Mapping[str, int], cls: str, sep: str, prefix: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The parts of BERT's tokenizer as tokenizer.json writes them; `options` are its normalizer's."""
    for name in (cls, sep):
        if name not in vocab:
            raise ValueError(f"the special token {describe(name)} is not in the vocabulary")

    def text(name: str, kind: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": kind}}

    def special(name: str, kind: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": kind}}

    single = [special(cls, 0), text("A", 0), special(sep, 0)]
    ids = {name: {"id": name, "ids": [vocab[name]], "tokens": [name]} for name in (cls, sep)}
    return {
        "normalizer": {"type": "BertNormalizer", **options},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, text("B", 1), special(sep, 1)],
            "special_tokens": ids,
        },
        "decoder": {"type": "WordPiece", "prefix": prefix, "cleanup": True},
    }


def read_vocab(path: str | Path) -> dict[str, int]:
    """The tokens of a vocab.txt with their line numbers, from 0; BadFileError for a file that lists one twice."""
    data = read_bytes(path, "vocabulary")
    vocab: dict[str, int] = {}
    try:
        lines = data.decode("utf-8").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise BadFileError(f"vocabulary {str(path)!r} is refused: no UTF-8 at byte {error.start}") from None
    for number, token in enumerate(lines[:-1] if lines[-1] == "" else lines):
        if vocab.setdefault(token, number) != number or not token:
            what = f"repeats line {vocab[token] + 1}" if token else "is empty"
            raise BadFileError(f"vocabulary {str(path)!r} is refused: line {number + 1} {what}")
    return vocab
