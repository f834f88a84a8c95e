"""Tokenizer: everything about a tokenizer that does not depend on its model (토크나이저의 공통부).

    text --added tokens cut out--> parts --normalizer--> --pre-tokenizer--> pieces --model--> ids     (`encode`)
    ids of one text or a pair --post-processor--> [CLS] ids [SEP] --truncation, padding--> a batch    (calling it)
    ids --decoder--> text                                                                             (`decode`)

The small parts live in normalizers.py, pre_tokenizers.py, post_processors.py and decoders.py; a model is a class with
`vocab`, `encode(text, pre_tokenizer, starts)` and `to_json()`: BPE in bpe_encode.py, WordPiece and Unigram beside it.
To read how a text becomes ids takes two files: `encode` here, and the model's.

Book: 2.2.1 토큰화. Held against: tokenizers.Tokenizer, transformers.PreTrainedTokenizerFast.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from minillm._checks import check_flag, check_int, check_path, check_text, describe, is_listing
from minillm._files import CHECKSUMS, write_checksums, write_json
from minillm.data.hub import Pushed
from minillm.tokenizer.added import AddedToken, find_added
from minillm.tokenizer.batch import Batch, check_ids, check_texts, encode_for_model
from minillm.tokenizer.chat import CONFIG, Chats, drop_template_files, saved_roles
from minillm.tokenizer.decoders import ByteLevel, build_decoder
from minillm.tokenizer.names import Named
from minillm.tokenizer.normalizers import build_normalizer
from minillm.tokenizer.offsets import Token, trace_text
from minillm.tokenizer.post_processors import build_post_processor
from minillm.tokenizer.pre_tokenizers import build_pre_tokenizer
from minillm.tokenizer.special import allowed_tokens, encode_text, special_pattern
from minillm.tokenizer.streaming import encode_stream

_CALL_OPTIONS = {
    name
    for name, parameter in inspect.signature(encode_for_model).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
}
PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


class Model(Protocol):
    """What turns a text into ids; `starts` says whether it begins where the caller's text begins."""

    vocab: Mapping[str, int]

    def encode(self, text: str, pre_tokenizer: Any, starts: bool) -> list[int]: ...

    def trace(
        self, piece: str
    ) -> list[tuple[int, int, int]]: ...  # (id, start, end) of the tokens of one piece

    def to_json(self) -> dict[str, Any]: ...


class Tokenizer(Named, Chats, Pushed):
    """Text to ids and back. Subclasses bring a model; `load_tokenizer` opens files of every kind built here.

    padding_side, truncation_side: "right" or "left", where calls fill up and cut.   model_max_length: the
    `max_length` of calls that name none.   model_input_names: what transformers gives with a saved file (None:
    token_type_ids, too, where the template has types for a pair); our own calls go by their arguments.   Yours to set,
    as in transformers; so are pad_token, eos_token and the like, see names.py.
    """

    padding_side = "right"
    truncation_side = "right"
    model_max_length: int | None = None
    model_input_names: list[str] | None = None

    def __init__(
        self, model: Model, added_tokens: Iterable[AddedToken] = (), layout: Mapping[str, Any] | None = None
    ) -> None:
        """`layout` describes the parts as tokenizer.json does: normalizer, pre_tokenizer, post_processor, decoder.

        Raises:
            ValueError: a part that is not supported, by its name; tokens and ids that do not fit each other.
        """
        self.layout: dict[str, Any] = {name: deepcopy((layout or {}).get(name)) for name in PARTS}
        self.kept: dict[str, Any] = {"truncation": None, "padding": None}  # what a file says of calls
        self.model = model
        self.normalizer = None
        if self.layout["normalizer"] is not None:
            self.normalizer = build_normalizer(self.layout["normalizer"])
        self.pre_tokenizer = build_pre_tokenizer(self.layout["pre_tokenizer"])
        self.post_processor = build_post_processor(self.layout["post_processor"])
        self.decoder = build_decoder(self.layout["decoder"])
        self.added_tokens: dict[str, AddedToken] = {token.content: token for token in added_tokens}
        self.special_tokens: dict[str, int] = {
            t.content: t.id for t in self.added_tokens.values() if t.special
        }
        self._names, self._ids = self._name_ids()
        if strange := self.post_processor.special_ids() - set(range(len(self._names))):
            raise ValueError(
                f"post_processor adds id {min(strange)}, the vocabulary has {len(self._names)} ids"
            )
        self._spelled: list[bytes] | None = None
        self._finders: dict[frozenset[str], tuple] = {}
        self._all_names = frozenset(self.added_tokens)
        self._normal_names = {
            name: self.normalizer(name) if self.normalizer else name
            for name, token in self.added_tokens.items()
            if token.normalized
        }
        if "" in self._normal_names.values():
            raise ValueError("an added token of which the normalizer leaves nothing is not supported")
        # What decoding reads. As in tokenizers a token that was looked for in normalised text comes back normalised,
        # and is skipped as special only if that is the name of a special token.
        self._shown = list(self._names)
        for name, normal in self._normal_names.items():
            self._shown[self._ids[name]] = normal
        self._skipped = frozenset(i for i, name in enumerate(self._shown) if name in self.special_tokens)

    def _name_ids(self) -> tuple[list[str], dict[str, int]]:
        """(the token of each id, the id of each token)."""
        ids = dict(self.model.vocab)
        for name, token in self.added_tokens.items():
            if ids.setdefault(name, token.id) != token.id:
                raise ValueError(f"added token {name!r} has two ids, {ids[name]} and {token.id}")
        names = sorted(ids, key=ids.__getitem__)
        if [ids[name] for name in names] != list(range(len(names))):
            raise ValueError(f"the {len(names)} tokens must have the ids 0 to {len(names) - 1}, each once")
        return names, ids

    # --- text to ids ------------------------------------------------------------------------------------------

    def encode(
        self, text: str, allowed_special: str | Collection[str] = "all", *, add_special_tokens: bool = False
    ) -> list[int]:
        """The ids of `text` alone; calling the tokenizer adds what a model wants around them, as add_special_tokens
        does here (in transformers it is the default).

        `allowed_special` says which special tokens are recognised: "all", or a set of them; the others, and with
        `()` all, are ordinary text, as in tiktoken with disallowed_special=(). Added tokens that are not special
        are always recognised.

        Raises:
            ValueError: `text` is no str or has a lone surrogate; `allowed_special` names an unknown token.
        """
        encode_text(text)
        ids = self.encode_with(text, self._recognised(allowed_special))
        if not check_flag("add_special_tokens", add_special_tokens):
            return ids
        parts = (ids if what == "A" else what for what, _ in self.post_processor.single)
        return [index for part in parts for index in part]

    def encode_with(self, text: str, names: frozenset[str]) -> list[int]:
        """The ids of `text` when exactly the added tokens `names` are recognised."""
        ids: list[int] = []
        for part, token, starts in self._parts(text, names):
            if token is not None:
                ids.append(token.id)
            else:
                ids += self.model.encode(part, self.pre_tokenizer, starts)
        return ids

    def _parts(self, text: str, names: frozenset[str]) -> Iterator[tuple[str, AddedToken | None, bool]]:
        """`text` as (part, its added token if it is one, whether it begins the text); ordinary parts normalised."""
        (raw, raw_pattern), (late, late_pattern) = self._finder(names)
        for start, end, token in find_added(text, raw, raw_pattern):
            part, starts = text[start:end], start == 0
            if token is not None or not (self.normalizer or late):
                yield part, token, starts
                continue
            normal = self.normalizer(part) if self.normalizer else part
            if starts and self.normalizer and self.pre_tokenizer.asks_for_first:
                starts = not self.normalizer.drops_front(part)
            for begin, stop, found in find_added(normal, late, late_pattern):
                yield normal[begin:stop], found, starts and begin == 0

    def traced_parts(
        self, text: str, names: frozenset[str]
    ) -> Iterator[tuple[str, list[tuple[int, int]], AddedToken | None, bool]]:
        """As `_parts`, each part with the place in `text`, (start, end), of each of its characters."""
        (raw, raw_pattern), (late, late_pattern) = self._finder(names)
        for start, end, token in find_added(text, raw, raw_pattern):
            part, starts = text[start:end], start == 0
            places = [(place, place + 1) for place in range(start, end)]
            if token is not None or not (self.normalizer or late):
                yield part, places, token, starts
                continue
            normal = self.normalizer(part) if self.normalizer else part
            if self.normalizer:
                origins = self.normalizer.origins(part)
                places = [places[place] if place >= 0 else (start, start) for place in origins]
                if starts and self.pre_tokenizer.asks_for_first:
                    starts = not self.normalizer.drops_front(part)
            for begin, stop, found in find_added(normal, late, late_pattern):
                yield normal[begin:stop], places[begin:stop], found, starts and begin == 0

    def _finder(self, names: frozenset[str]) -> tuple:
        """The tokens `names` that are looked for before and after the normalizer, each with its pattern."""
        if names in self._finders:
            return self._finders[names]
        raw = {name: self.added_tokens[name] for name in names if name not in self._normal_names}
        late = {
            spelled: self.added_tokens[name] for name, spelled in self._normal_names.items() if name in names
        }
        finder = tuple((tokens, special_pattern(frozenset(tokens))) for tokens in (raw, late))
        self._finders = {names: finder}  # the latest choice is remembered
        return finder

    def _recognised(self, allowed_special: str | Collection[str]) -> frozenset[str]:
        if isinstance(allowed_special, str) and allowed_special == "all":
            return self._all_names
        allowed = allowed_tokens(allowed_special, self.special_tokens)
        return allowed | (self.added_tokens.keys() - self.special_tokens.keys())

    def encode_with_offsets(
        self, text: str, allowed_special: str | Collection[str] = "all"
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """(the ids of `encode`, where each lies in `text`: (start, end) in characters, end not included)."""
        tokens = self.trace(text, allowed_special)
        return [token.id for token in tokens], [(token.start, token.end) for token in tokens]

    def trace(self, text: str, allowed_special: str | Collection[str] = "all") -> list[Token]:
        """The tokens of `encode`, each with its place in `text` and the number of its piece; see offsets.py."""
        encode_text(text)
        tokens = trace_text(self, text, self._recognised(allowed_special))
        return self.post_processor.trim(self, tokens)

    def encode_batch(
        self, texts: Iterable[str], allowed_special: str | Collection[str] = "all"
    ) -> list[list[int]]:
        """The ids of each text, as `encode` gives them."""
        return [self.encode(text, allowed_special) for text in check_texts(texts)]

    def encode_iterable(
        self, texts: Iterable[str], allowed_special: str | Collection[str] = "all"
    ) -> Iterator[int]:
        """The ids of all `texts` joined (the lines of a file, say), one at a time.

        Equal to `encode("".join(texts))`. In constant memory for byte-level tokenizers that cut by one pattern, as
        GPT-2's and most of today's do: what the next text could still change is held back, see streaming.py. Where a
        normalizer or another cut may look at the whole text, the whole text is gathered first.
        """
        names = self._recognised(allowed_special)
        return self._stream(check_texts(texts), names)

    def _stream(self, texts: Iterator[str], names: frozenset[str]) -> Iterator[int]:
        tokens = self.added_tokens.values()
        plain = not any(token.single_word or token.lstrip or token.rstrip for token in tokens)
        one_pass = len({token.normalized for token in tokens}) < 2  # else some are found before the others
        if plain and one_pass and self.normalizer is None and self.pre_tokenizer.pattern is not None:
            yield from encode_stream(self, texts, names)
        else:
            yield from self.encode_with("".join(texts), names)

    def __call__(
        self,
        texts: str | Sequence[Any],
        text_pair: str | Sequence[Any] | None = None,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        **options: Any,
    ) -> Batch:
        """A batch for a model, special tokens around the texts: input_ids, attention_mask and token_type_ids.

        `options` are those of `batch.encode_for_model`, and have transformers' names: stride, padding_side,
        return_overflowing_tokens, return_offsets_mapping, is_split_into_words, ...
        """
        if unknown := sorted(options.keys() - _CALL_OPTIONS):
            raise ValueError(
                f"{unknown[0]!r} is no option here; there are {', '.join(sorted(_CALL_OPTIONS))}"
            )
        return encode_for_model(
            self, texts, text_pair, padding, truncation, max_length, return_tensors, **options
        )

    # --- ids to text ------------------------------------------------------------------------------------------

    def decode_bytes(self, ids: Iterable[int], skip_special_tokens: bool = False) -> bytes:
        """The bytes that `ids` spell in the middle of a text, special tokens included unless they are skipped.

        `decode_bytes(a + b) == decode_bytes(a) + decode_bytes(b)`, always: no blank at the front is dropped and no
        half character replaced, as `decode` does. So this is how to read text that is still growing: stop strings
        are searched here, and new tokens decoded here go on from what was there before.

        Raises:
            ValueError: `ids` is no sequence of integers in [0, vocab_size).
        """
        known = self._checked(ids, skip_special_tokens)
        if self._spelled is None:
            inside = self.decoder.inside if self.decoder else str.encode
            self._spelled = [inside(name) for name in self._shown]
        return b"".join([self._spelled[index] for index in known])

    def decode(self, ids: int | Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text that `ids`, one or several, spell; bytes that are not UTF-8 (a character cut in two) become U+FFFD.

        Raises:
            ValueError: `ids` are no integers in [0, vocab_size).
        """
        if isinstance(self.decoder, ByteLevel):
            return self.decode_bytes(ids, skip_special_tokens).decode("utf-8", "replace")
        tokens = [self._shown[index] for index in self._checked(ids, skip_special_tokens)]
        return " ".join(tokens) if self.decoder is None else "".join(self.decoder(tokens))

    def batch_decode(
        self, sequences: Iterable[Iterable[int]], skip_special_tokens: bool = False
    ) -> list[str]:
        """The text of each row of a batch, as `decode` gives it; tensors (B, T) too. transformers' name."""
        if not is_listing(sequences):
            raise ValueError(f"sequences must be rows of ids, got {describe(sequences)}")
        return [self.decode(row, skip_special_tokens) for row in sequences]

    def _checked(self, ids: int | Iterable[int], skip_special_tokens: bool) -> list[int]:
        one = type(ids) is int or getattr(ids, "ndim", None) == 0  # `for index in ids: decode(index)`
        known = check_ids([ids] if one else ids, self.vocab_size)
        if check_flag("skip_special_tokens", skip_special_tokens):
            return [index for index in known if index not in self._skipped]
        return known

    # --- the vocabulary ---------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """How many ids there are, special tokens included."""
        return len(self._names)

    @property
    def vocab(self) -> dict[str, int]:
        """Token as files spell it -> id, in the order of ids (a new dict)."""
        return {name: index for index, name in enumerate(self._names)}

    def token_to_id(self, token: str) -> int | None:
        """The id of a token as files spell it (`"Ġthe"` for `b" the"`) or of an added token; None if there is none."""
        return self._ids.get(check_text("token", token))

    def id_to_token(self, index: int) -> str:
        """How files spell an id: `"Ġthe"` for `b" the"`. Raises ValueError for an id out of range."""
        return self._names[check_int("id", index, 0, self.vocab_size - 1)]

    # --- files ------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """The content of tokenizer.json: a copy, so that changing it leaves the tokenizer as it is."""
        model = self.model.to_json()
        return {
            "version": "1.0",
            **deepcopy(self.kept),
            "added_tokens": [
                asdict(t) for t in sorted(self.added_tokens.values(), key=lambda token: token.id)
            ],
            **deepcopy(self.layout),
            "model": {name: copy(value) for name, value in model.items()},  # shallow: a vocabulary is long
        }

    def save(self, path: str | Path) -> Path:
        """Write a file `path` that ends in .json, or tokenizer.json (and tokenizer_config.json, which tells
        transformers how to open it, and checksums.json) into the folder `path`, each whole or not at all. tokenizers
        and transformers open them. Returns the path of tokenizer.json."""
        path = check_path("path", path)
        if path.suffix == ".json":
            write_json(path, self.to_json())
            if (path.parent / CHECKSUMS).exists():  # a model's, which would not know this file again
                write_checksums(path.parent, [path.name])
            return path
        config: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "model_input_names": self.model_input_names or self._input_names(),
        }
        write_json(path / CONFIG, config | saved_roles(self))
        drop_template_files(path)
        file = write_json(path / "tokenizer.json", self.to_json())
        write_checksums(path, ("tokenizer.json", CONFIG))
        return file

    def _input_names(self) -> list[str]:
        """Without this list, transformers 5 gives no token types. A model of one kind of text would not take them."""
        template = self.post_processor
        typed = template.added(pair=True) and any(kind for _, kind in template.pair)
        return ["input_ids", *(["token_type_ids"] if typed else []), "attention_mask"]

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}(vocab_size={self.vocab_size}, special_tokens={describe(list(self.special_tokens))})"
