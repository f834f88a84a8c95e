"""SentencePiece's `.model` files (센텐스피스): one protobuf message with the pieces, and how texts are normalised.

    message ModelProto { repeated Piece pieces = 1; TrainerSpec trainer_spec = 2; NormalizerSpec normalizer_spec = 3; }
    message Piece { string piece = 1; float score = 2; Type type = 3; }

In protobuf's wire format a message is a list of fields: a number (field << 3 | kind), then the value. Numbers come
seven bits a byte, lowest first, the top bit saying that more follow; strings and messages with their length in front.

A model of kind 1 is Unigram. One of kind 2 is BPE without a list of merges: a pair is worth the score of the piece it
makes, so the merges are written out, the best first, and BPE runs as usual. Both are opened as tokenizers whose ids
are SentencePiece's. `save` writes a tokenizer.json; there the tokenizers library normalises clusters of letters and
marks by another rule (charsmap.py), and only there the ids may differ.

Book: 2.2.1 토큰화. Paper: Kudo and Richardson 2018. Held against: sentencepiece. Left out: word and character models.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minillm._files import BadFileError, read_bytes
from minillm.tokenizer.added import AddedToken
from minillm.tokenizer.bpe import BPETokenizer
from minillm.tokenizer.bpe_encode import BPE
from minillm.tokenizer.charsmap import Charsmap, Trie
from minillm.tokenizer.unigram import Unigram, UnigramTokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
UNIGRAM, BPE_MODEL = 1, 2
SIGN = "▁"


def read_message(data: bytes) -> dict[int, list[Any]]:
    """The fields of a protobuf message: {number: values}, each an int or bytes. ValueError when it is cut short."""
    fields: dict[int, list[Any]] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            if at >= len(data) or shift > 63:
                raise ValueError(f"cut short or damaged at byte {at}")
            value |= (data[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if data[at - 1] < 0x80:
                return value

    while at < len(data):
        key = number()
        kind, size = key & 7, {1: 8, 5: 4}.get(key & 7)
        if kind == 0:
            value: Any = number()
        else:
            size = number() if kind == 2 else size
            if size is None or at + size > len(data):
                raise ValueError(f"cut short or damaged at byte {at}")
            value, at = data[at : at + size], at + size
        fields.setdefault(key >> 3, []).append(value)
    return fields


@dataclass
class SentencePieceModel:
    """What a model file says: pieces with scores and types (NORMAL, ...), and how texts are normalised."""

    pieces: list[str]
    scores: list[float]
    types: list[int]
    kind: int = UNIGRAM
    byte_fallback: bool = False
    charsmap: bytes = b""
    dummy_prefix: bool = True
    strip_blanks: bool = True
    strange: list[str] = field(default_factory=list)  # what is asked for and not built here


def read_model(path: str | Path) -> SentencePieceModel:
    """Read a `.model` file. Raises BadFileError when it is missing, cut short or damaged."""
    data = read_bytes(path, "tokenizer")
    try:
        fields = read_message(data)
        rows = [read_message(piece) for piece in fields.get(1, [])]
        trainer, normalizer = (read_message(_last(fields, n, b"")) for n in (2, 3))
        model = SentencePieceModel(
            [_last(row, 1, b"").decode("utf-8") for row in rows],
            [struct.unpack("<f", _last(row, 2, bytes(4)))[0] for row in rows],
            [_last(row, 3, NORMAL) for row in rows],
            _last(trainer, 3, UNIGRAM),
            bool(_last(trainer, 35, 0)),
            _last(normalizer, 2, b""),
            bool(_last(normalizer, 3, 1)),
            bool(_last(normalizer, 4, 1)),
        )
        if not _last(normalizer, 5, 1):
            model.strange.append("escape_whitespaces false")
        if _last(trainer, 24, 0):
            model.strange.append("treat_whitespace_as_suffix")
        return model
    except (ValueError, TypeError, AttributeError, struct.error) as error:
        raise BadFileError(f"tokenizer {str(path)!r} is refused: {error}") from None


def _last(fields: dict[int, list[Any]], number: int, default: Any) -> Any:
    """The value of a field; protobuf lets the last one win. TypeError when it is of another kind than the default."""
    value = fields.get(number, [default])[-1]
    if type(value) is not type(default):
        raise TypeError(f"field {number} is of the wrong kind")
    return value


def load_sentencepiece(path: str | Path) -> UnigramTokenizer | BPETokenizer:
    """Open a `.model` file. Raises BadFileError when it is missing, damaged or asks for what is not built here."""
    model = read_model(path)
    try:
        return build_tokenizer(model)
    except ValueError as error:
        raise BadFileError(f"tokenizer {str(path)!r} is refused: {error}") from None


def build_tokenizer(
    model: SentencePieceModel,
    added: Sequence[AddedToken] | None = None,
    frame: Mapping[str, Any] | None = None,
) -> UnigramTokenizer | BPETokenizer:
    """The tokenizer of a model; ValueError naming what cannot be honoured.

    added: the tokens that are found before the model; None takes the unknown and the control pieces. frame: the
    post-processor, as tokenizer.json writes it.
    """
    if model.strange:
        raise ValueError(f"{model.strange[0]} is not supported")
    if model.kind not in (UNIGRAM, BPE_MODEL):
        raise ValueError(f"model_type {model.kind} is not supported (1 is unigram, 2 is bpe)")
    unknown = [index for index, kind in enumerate(model.types) if kind == UNKNOWN]
    if len(unknown) != 1:
        raise ValueError(f"one piece must be the unknown one, {len(unknown)} are")
    if USER_DEFINED in model.types:  # SentencePiece keeps them whole without cutting the text around them
        raise ValueError(
            f"the user-defined piece {model.pieces[model.types.index(USER_DEFINED)]!r} is not supported"
        )
    if added is None:
        added = [
            AddedToken(index, model.pieces[index])
            for index, kind in enumerate(model.types)
            if kind in (UNKNOWN, CONTROL)
        ]
    layout = {**sentencepiece_layout(model), "post_processor": frame}
    if model.kind == UNIGRAM:
        core = Unigram(list(zip(model.pieces, model.scores)), unknown[0], model.byte_fallback)
        core.leave_out(piece for piece, kind in zip(model.pieces, model.types) if kind in (UNUSED, BYTE))
        tokenizer: Any = UnigramTokenizer(core, added, layout)
    else:
        vocab = {piece: index for index, piece in enumerate(model.pieces)}
        options = {
            "unk_token": model.pieces[unknown[0]], "fuse_unk": True, "byte_fallback": model.byte_fallback,
        }  # fmt: skip
        merges = merges_from_scores(model.pieces, model.scores, model.types)
        tokenizer = BPETokenizer.from_parts(BPE(vocab, merges, options), added, layout)
    if model.charsmap:
        exact = Charsmap(Trie(model.charsmap))
        tokenizer.normalizer.steps = [exact, *tokenizer.normalizer.steps[1:]]
    return tokenizer


def merges_from_scores(
    pieces: Sequence[str], scores: Sequence[float], types: Sequence[int]
) -> list[tuple[str, str]]:
    """Every way to make a piece of two others, the piece with the best score first; of one piece's ways, the one with
    the lowest ids."""
    known = {piece: i for i, (piece, kind) in enumerate(zip(pieces, types)) if kind == NORMAL}
    merges: list[tuple[float, int, int, int]] = []
    for piece, index in known.items():
        for cut in range(1, len(piece)):
            left, right = known.get(piece[:cut]), known.get(piece[cut:])
            if left is not None and right is not None:
                merges.append((-scores[index], index, left, right))
    return [(pieces[left], pieces[right]) for _, _, left, right in sorted(merges)]


def sentencepiece_layout(model: SentencePieceModel) -> dict[str, Any]:
    """The parts of the pipeline as tokenizer.json writes them."""
    steps: list[dict[str, Any]] = []
    if model.charsmap:
        table = base64.b64encode(model.charsmap).decode("ascii")
        steps.append({"type": "Precompiled", "precompiled_charsmap": table})
    if model.strip_blanks:
        steps.append({"type": "Replace", "pattern": {"Regex": r"\A +|[ ▁]+\z"}, "content": ""})
        steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    if model.dummy_prefix:
        steps.append({"type": "Prepend", "prepend": SIGN})
    steps.append({"type": "Replace", "pattern": {"String": " "}, "content": SIGN})
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": SIGN}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if model.dummy_prefix:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    split = {"type": "Metaspace", "replacement": SIGN, "prepend_scheme": "never", "split": True}
    return {
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": split if model.kind == UNIGRAM else None,
        "decoder": {"type": "Sequence", "decoders": decoders},
    }
