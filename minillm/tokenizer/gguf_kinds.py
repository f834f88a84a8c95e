"""The kinds of vocabulary that a GGUF file may hold beside byte-level BPE, both ways.

    llama   SentencePiece's BPE: pieces with scores, ▁ for a blank, <0x41> for a byte. The best-scored neighbours join
    t5      SentencePiece's Unigram: pieces with log-probabilities, and the table of normalisations
    bert    WordPiece, marked the other way round: "▁word" begins a word, "piece" goes on, [CLS] stands as it is

What does not fit a file without a loss is not written: each writer reads back what it wrote before it hands it out.

Book: 2.2.1 토큰화. Held against: llama.cpp, sentencepiece, tokenizers. Leaves out: that llama.cpp spells words of more
than 100 characters, which are [UNK] in BERT's own tokenizer and here.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minillm._checks import describe
from minillm.tokenizer.added import AddedToken
from minillm.tokenizer.base import Tokenizer
from minillm.tokenizer.bpe import BPETokenizer
from minillm.tokenizer.bpe_encode import BPE
from minillm.tokenizer.sentencepiece import (
    BPE_MODEL,
    UNIGRAM,
    SentencePieceModel,
    build_tokenizer,
    merges_from_scores,
    sentencepiece_layout,
)
from minillm.tokenizer.unigram import Unigram, UnigramTokenizer
from minillm.tokenizer.wordpiece import WordPiece, WordPieceTokenizer, bert_layout

ORDINARY, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
_BERT_IDS = {
    "cls_token": 101,
    "sep_token": 102,
    "unk_token": 100,
    "pad_token": 0,
    "mask_token": 103,
}  # llama.cpp's
_BERT_NORMALIZER = {
    "clean_text": True,
    "handle_chinese_chars": True,
    "strip_accents": None,
    "lowercase": True,
}
_NO_SCORE = -10000.0


# --- llama and t5 --------------------------------------------------------------------------------------------------


def read_pieces(
    own: Mapping[str, Any], tokens: Sequence[str], kinds: np.ndarray, roles: Mapping[str, int], frame: Any
) -> UnigramTokenizer | BPETokenizer:
    """The tokenizer of a `llama` or a `t5` file; own: its metadata. ValueError naming what is missing or not built."""
    kind = UNIGRAM if own["model"] == "t5" else BPE_MODEL
    scores = own.get("scores")
    if not isinstance(scores, np.ndarray) or scores.shape != kinds.shape or scores.dtype.kind != "f":
        raise ValueError(
            f"scores must give a number for each of {len(tokens)} tokens, got {describe(scores)}"
        )
    unknown = roles.get("unk_token", 2 if kind == UNIGRAM else 0)
    if unknown >= len(tokens):
        raise ValueError(f"it has no unknown token: {unknown} is not among {len(tokens)} tokens")
    # Tokens of a user are found before the model, as control tokens are: to it both are no pieces of a text.
    types = np.where(kinds == USER, CONTROL, np.where(kinds == UNKNOWN, UNUSED, kinds))
    types[unknown] = UNKNOWN
    plain = np.where(
        types == ORDINARY, scores, 0.0
    )  # sentencepiece's lowest score is that of an ordinary piece
    model = SentencePieceModel(
        list(tokens), plain.tolist(), types.tolist(), kind, bool((kinds == BYTE).any()), _charsmap(own),
        bool(own.get("add_space_prefix", True)),
        bool(own.get("remove_extra_whitespaces", kind == UNIGRAM)),
    )  # fmt: skip
    added = [
        AddedToken(index, tokens[index], special=bool(kinds[index] != USER))
        for index in np.flatnonzero(np.isin(types, (UNKNOWN, CONTROL))).tolist()
    ]
    return build_tokenizer(model, added, frame)


def _charsmap(own: Mapping[str, Any]) -> bytes:
    table = own.get("precompiled_charsmap")
    if table is None:
        return b""
    if not isinstance(table, np.ndarray) or table.dtype.itemsize != 1:
        raise ValueError(f"precompiled_charsmap must be bytes, got {describe(table)}")
    return table.tobytes()


def write_pieces(tokenizer: Tokenizer, kinds: np.ndarray, tokens: list[str]) -> dict[str, Any]:
    """The metadata of a `llama` or a `t5` file beside tokens and kinds, which are filled in; ValueError for what they
    do not hold. tokens: all of the file; kinds: CONTROL, USER and UNUSED are set."""
    model, layout = tokenizer.model, tokenizer.layout
    shape = SentencePieceModel([], [], [], UNIGRAM if isinstance(model, Unigram) else BPE_MODEL)
    shape.charsmap = _table(layout["normalizer"])
    asked = {name: layout[name] for name in ("normalizer", "pre_tokenizer", "decoder")}
    for shape.dummy_prefix in (True, False):
        for shape.strip_blanks in (True, False):
            if sentencepiece_layout(shape) == asked:
                break
        else:
            continue
        break
    else:
        raise ValueError("it normalises or cuts text in a way that a GGUF file has no words for")
    if model.byte_fallback if isinstance(model, Unigram) else model.options["byte_fallback"]:
        for byte in range(256):
            index = model.vocab.get(f"<0x{byte:02X}>")
            if index is None:
                raise ValueError(f"it has no token for the byte <0x{byte:02X}>")
            kinds[index] = BYTE
    unknown = model.unk_id if isinstance(model, Unigram) else model.vocab.get(model.options["unk_token"])
    if unknown is None:
        raise ValueError("it has no unknown token")
    kinds[unknown] = UNKNOWN
    scores = np.full(len(tokens), _NO_SCORE, np.float32)
    if isinstance(model, Unigram):
        scores[: len(model.pieces)] = [score for _, score in model.pieces]
        left_out = [index for piece, index in model.vocab.items() if piece not in model._scores]
        kinds[[index for index in left_out if kinds[index] == ORDINARY]] = UNUSED
    else:
        scores[: len(model.vocab)] = _scores_of(model, kinds, tokens)
    metadata: dict[str, Any] = {
        "model": "t5" if isinstance(model, Unigram) else "llama", "scores": scores, "unknown_token_id": unknown,
        "add_space_prefix": shape.dummy_prefix, "remove_extra_whitespaces": shape.strip_blanks,
    }  # fmt: skip
    if metadata["model"] == "llama":
        metadata["pre"] = "default"
    if shape.charsmap:
        metadata["precompiled_charsmap"] = np.frombuffer(shape.charsmap, np.uint8)
    return metadata


def _table(normalizer: Any) -> bytes:
    """The table of normalisations that stands first in a normalizer's layout, if one does."""
    first = normalizer["normalizers"][:1] if (normalizer or {}).get("type") == "Sequence" else [normalizer]
    if first and (first[0] or {}).get("type") == "Precompiled":
        return base64.b64decode(first[0]["precompiled_charsmap"])
    return b""


def _scores_of(model: BPE, kinds: np.ndarray, tokens: Sequence[str]) -> np.ndarray:
    """A score for each piece so that the best-scored pair is the first merge; ValueError where merges are in another
    order than any scores could give."""
    count = len(model.vocab)
    ranks = {}
    for rank, (left, right) in enumerate(model.merges):
        ranks.setdefault(left + right, rank)
    scores = np.array(
        [-float(ranks.get(token, len(ranks) + index)) for index, token in enumerate(tokens[:count])]
    )
    if merges_from_scores(tokens[:count], scores.tolist(), kinds[:count].tolist()) != model.merges:
        raise ValueError("its merges stand in an order that no scores of pieces give")
    return scores.astype(np.float32)


# --- bert ----------------------------------------------------------------------------------------------------------


def read_wordpieces(
    own: Mapping[str, Any], tokens: Sequence[str], kinds: np.ndarray, roles: Mapping[str, int]
) -> WordPieceTokenizer:
    """The tokenizer of a `bert` file, uncased, as llama.cpp takes them all to be."""
    names = [_from_phantom(token, kind) for token, kind in zip(tokens, kinds.tolist())]
    vocab = {name: index for index, name in enumerate(names)}
    if len(vocab) < len(names):
        twice = next(name for index, name in enumerate(names) if vocab[name] != index)
        raise ValueError(f"the token {twice!r} comes twice")
    start = {"cls_token": roles["bos_token"]} if "bos_token" in roles else {}
    ids = {role: index for role, index in (_BERT_IDS | start | dict(roles)).items() if index < len(names)}
    if lost := [role for role in ("cls_token", "sep_token", "unk_token") if role not in ids]:
        raise ValueError(f"it has no {lost[0]}")
    special = {ids[role] for role in ids if role in roles or role != "mask_token"}
    special |= set(np.flatnonzero(np.isin(kinds, (CONTROL, USER))).tolist())
    added = [AddedToken(index, names[index], special=bool(kinds[index] != USER)) for index in sorted(special)]
    layout = bert_layout(vocab, names[ids["cls_token"]], names[ids["sep_token"]], "##", _BERT_NORMALIZER)
    return WordPieceTokenizer(WordPiece(vocab, {"unk_token": names[ids["unk_token"]]}), added, layout)


def _from_phantom(token: str, kind: int) -> str:
    if kind in (CONTROL, USER) or (token.startswith("[") and token.endswith("]") and len(token) > 2):
        return token
    return token[1:] if token.startswith("▁") else f"##{token}"


def write_wordpieces(tokenizer: WordPieceTokenizer, kinds: np.ndarray, tokens: list[str]) -> dict[str, Any]:
    """The metadata of a `bert` file beside tokens and kinds, which are changed in place."""
    model, layout = tokenizer.model, tokenizer.layout
    normalizer = dict(layout["normalizer"] or {})
    if normalizer.get("strip_accents") is True:  # what None means where letters are lowered
        normalizer["strip_accents"] = None
    expected = {
        "normalizer": {"type": "BertNormalizer", **_BERT_NORMALIZER},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
    }
    if normalizer != expected["normalizer"] or layout["pre_tokenizer"] != expected["pre_tokenizer"]:
        raise ValueError("a GGUF file's WordPiece lowers letters and cuts words as BERT's uncased one does")
    if model.prefix != "##":
        raise ValueError(f"a GGUF file's WordPiece marks with ##, this one with {model.prefix!r}")
    for name, index in model.vocab.items():
        if kinds[index] not in (CONTROL, USER) and not (
            name.startswith("[") and name.endswith("]") and len(name) > 2
        ):
            tokens[index] = name[2:] if name.startswith("##") else f"▁{name}"
        if _from_phantom(tokens[index], int(kinds[index])) != name:
            raise ValueError(f"a GGUF file has no form for the token {name!r}")
    ids = {"unknown_token_id": model.unknown}
    framed = tokenizer("a")["input_ids"]
    if len(framed) - len(tokenizer.encode("a")) == 2:
        ids |= {"cls_token_id": framed[0], "bos_token_id": framed[0], "seperator_token_id": framed[-1]}
    return {"model": "bert", "pre": "bert-bge", **ids}
