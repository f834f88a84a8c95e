"""The tokenizer inside a GGUF file: tokens, their kinds and merges among the metadata, both ways.

    tokenizer.ggml.model    "gpt2": byte-level BPE, here; "llama", "t5" and "bert" in gguf_kinds.py
    tokenizer.ggml.pre      how text is cut, by a name: the pattern itself is not in the file, but in `CUTS`
    tokenizer.ggml.tokens, .merges, .token_type (1 ordinary, 3 control, 4 added by a user, 5 unused)
    tokenizer.chat_template, .bos_token_id, .eos_token_id, .padding_token_id

Book: 2.2.1 토큰화, 3.2. Held against: tokenizers, llama.cpp. Leaves out: other kinds of vocabulary (rwkv, plamo2).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minillm._checks import check_int, describe
from minillm._files import BadFileError
from minillm.data.gguf import read_gguf
from minillm.tokenizer.base import AddedToken, Tokenizer
from minillm.tokenizer.bpe import BPETokenizer, byte_level_cut, check_vocab, read_merges
from minillm.tokenizer.bpe_encode import BPE
from minillm.tokenizer.chat import known_roles, one_or_named
from minillm.tokenizer.gguf_kinds import (
    CONTROL,
    ORDINARY,
    UNUSED,
    USER,
    read_pieces,
    read_wordpieces,
    write_pieces,
    write_wordpieces,
)
from minillm.tokenizer.splitting import GPT2_PATTERN
from minillm.tokenizer.unigram import Unigram
from minillm.tokenizer.wordpiece import WordPiece

KINDS = ("gpt2", "llama", "t5", "bert")
ROLES = {
    "bos_token": "bos_token_id", "eos_token": "eos_token_id", "pad_token": "padding_token_id",
    "unk_token": "unknown_token_id", "sep_token": "seperator_token_id", "cls_token": "cls_token_id",
    "mask_token": "mask_token_id",
}  # fmt: skip
_AROUND = {"llama": (True, False), "t5": (False, True)}
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DIGITS = {
    "type": "Sequence",
    "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level_cut(GPT2_PATTERN)],
}
CUTS: dict[str, dict[str, Any]] = {  # names -> the parts of a tokenizer.json that they stand for
    "gpt-2": {"pre_tokenizer": byte_level_cut(GPT2_PATTERN)},
    "smollm": {"pre_tokenizer": _DIGITS},  # each digit alone
    "llama-bpe": {"pre_tokenizer": byte_level_cut(_LLAMA3), "ignore_merges": True},
    "qwen2": {"pre_tokenizer": byte_level_cut(_LLAMA3.replace("{1,3}", "")), "normalizer": {"type": "NFC"}},
}
SAME = {  # further names of the same cuts, as llama.cpp reads them
    "llama3": "llama-bpe", "llama-v3": "llama-bpe", "falcon3": "llama-bpe", "midm-2.0": "llama-bpe",
    "deepseek-r1-qwen": "qwen2", "kormo": "qwen2",
}  # fmt: skip
_DECODER = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def load_gguf_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer of a GGUF file; `chat_template` and `roles` (bos_token and the like) are the file's own.

    Raises BadFileError for a file that is cut, damaged, or whose tokenizer is of a kind that is not built here.
    """
    metadata = read_gguf(path).metadata
    try:
        return tokenizer_from(metadata)
    except ValueError as error:
        raise BadFileError(f"tokenizer of {str(path)!r} is refused: {error}") from None


def tokenizer_from(metadata: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that a file's metadata describe; ValueError naming what is missing or not built here."""
    own = {name.removeprefix("tokenizer.ggml."): value for name, value in metadata.items()}
    if not isinstance(own.get("model"), str) or own["model"] not in KINDS:
        raise ValueError(
            f"it holds the vocabulary of a {describe(own.get('model'))} tokenizer; we read {', '.join(KINDS)}"
        )
    tokens = own.get("tokens")
    if not isinstance(tokens, list) or not tokens:
        raise ValueError("it lacks tokens")
    kinds = own.get("token_type", np.full(len(tokens), ORDINARY))
    if not isinstance(kinds, np.ndarray) or len(kinds) != len(tokens) or kinds.dtype.kind not in "iu":
        raise ValueError(
            f"token_type must name a kind for each of {len(tokens)} tokens, got {describe(kinds)}"
        )
    if own["model"] != "bert" and len(set(tokens)) < len(tokens):
        raise ValueError("a token comes twice")
    ids = {role: own[name] for role, name in ROLES.items() if own.get(name) is not None}
    for role, index in ids.items():
        check_int(role, index, 0, len(tokens) - 1)
    if own["model"] == "gpt2":
        tokenizer: Tokenizer = _read_bytes(own, tokens, kinds, _frame(tokens, ids, own))
    elif own["model"] == "bert":
        tokenizer = read_wordpieces(own, tokens, kinds, ids)
    else:
        tokenizer = read_pieces(own, tokens, kinds, ids, _frame(tokens, ids, own))
    tokenizer.chat_template = _templates(metadata)
    tokenizer.roles = {role: tokenizer.id_to_token(index) for role, index in ids.items()}
    return tokenizer


def _templates(metadata: Mapping[str, Any]) -> str | dict[str, str] | None:
    """The chat template of a file, or several by their names."""
    front = "tokenizer.chat_template."
    named = {name.removeprefix(front): value for name, value in metadata.items() if name.startswith(front)}
    own = metadata.get("tokenizer.chat_template")
    return one_or_named({**({} if own is None else {"default": own}), **named})


def _read_bytes(
    own: Mapping[str, Any], tokens: list[str], kinds: np.ndarray, frame: dict[str, Any] | None
) -> BPETokenizer:
    """The byte-level BPE of a `gpt2` file."""
    if (name := _cut_of(own)) is None:
        known = ", ".join([*CUTS, *SAME])
        raise ValueError(f"it cuts text by {describe(own.get('pre'))}, we know {known}")
    cut, merges = CUTS[name], own.get("merges")
    if not isinstance(merges, list):
        raise ValueError("it lacks merges")
    vocab = {token: index for index, token in enumerate(tokens)}
    layout = {"normalizer": cut.get("normalizer"), "pre_tokenizer": cut["pre_tokenizer"], "decoder": _DECODER}
    layout["post_processor"] = frame
    added = [
        AddedToken(index, tokens[index], special=bool(kinds[index] != USER))
        for index in np.flatnonzero(~np.isin(kinds, (ORDINARY, UNUSED))).tolist()
    ]
    options = {"ignore_merges": cut.get("ignore_merges", False)}
    return BPETokenizer.from_parts(BPE(check_vocab(vocab), read_merges(merges), options), added, layout)


def _cut_of(own: Mapping[str, Any]) -> str | None:
    """The name in CUTS of how a file cuts text; None for a name that we do not know."""
    name = own.get("pre")
    name = SAME.get(name, name) if isinstance(name, str) else None
    return name if name in CUTS else None


def _frame(tokens: list[str], ids: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any] | None:
    """The post-processor that puts the tokens around a text which the file wants there."""
    # what llama.cpp does where the file says nothing
    wants_bos, wants_eos = _AROUND.get(own["model"], (False, False))
    if own["model"] == "gpt2" and _cut_of(own) == "llama-bpe":  # files of Llama 3 often do not say it
        wants_bos = True
    front = [tokens[ids["bos_token"]]] if own.get("add_bos_token", wants_bos) and "bos_token" in ids else []
    back = [tokens[ids["eos_token"]]] if own.get("add_eos_token", wants_eos) and "eos_token" in ids else []
    if not front + back:
        return None
    index = {token: tokens.index(token) for token in front + back}

    def framed(name: str, type_id: int) -> list[dict[str, Any]]:
        special = [{"SpecialToken": {"id": token, "type_id": type_id}} for token in front]
        after = [{"SpecialToken": {"id": token, "type_id": type_id}} for token in back]
        return [*special, {"Sequence": {"id": name, "type_id": type_id}}, *after]

    return {
        "type": "TemplateProcessing",
        "single": framed("A", 0),
        "pair": framed("A", 0) + framed("B", 1),
        "special_tokens": {t: {"id": t, "ids": [i], "tokens": [t]} for t, i in index.items()},
    }


def gguf_vocabulary(tokenizer: Tokenizer, rows: int) -> dict[str, Any]:
    """The metadata that stand for a tokenizer in a GGUF file; `load_gguf_tokenizer` reads them.

    rows: of the model's embedding table; ids that the tokenizer does not use are filled up. Raises ValueError for a
    tokenizer that a file cannot hold without a loss: one that cuts or changes text in a way without a name there, or
    puts something else than bos and eos (BERT: [CLS] and [SEP]) around a text.
    """
    check_int("rows", rows, tokenizer.vocab_size)
    tokens = [f"[PAD{index}]" for index in range(rows)]
    kinds = np.full(rows, UNUSED, np.int32)
    for token, index in tokenizer.vocab.items():
        tokens[index], kinds[index] = token, ORDINARY
    for token in tokenizer.added_tokens.values():
        kinds[token.id] = CONTROL if token.special else USER
    if isinstance(tokenizer.model, WordPiece):
        metadata = write_wordpieces(tokenizer, kinds, tokens)
    elif isinstance(tokenizer.model, Unigram) or (
        isinstance(tokenizer.model, BPE) and not _is_byte_level(tokenizer)
    ):
        metadata = write_pieces(tokenizer, kinds, tokens)
    elif isinstance(tokenizer.model, BPE):
        metadata = _write_bytes(tokenizer)
    else:
        raise ValueError(f"a GGUF file holds BPE, Unigram or WordPiece, got {describe(tokenizer)}")
    roles = known_roles(tokenizer) if metadata["model"] != "gpt2" else dict(tokenizer.roles)
    for role, token in roles.items():
        if (index := tokenizer.token_to_id(token)) is not None:
            metadata.setdefault(ROLES[role], index)
    if metadata["model"] != "bert":
        metadata |= _around(tokenizer, roles)
    found = {f"tokenizer.ggml.{name}": value for name, value in metadata.items()}
    found |= {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": kinds}
    if isinstance(template := tokenizer.chat_template, Mapping):
        others = [name for name in template if name != "default"]
        found |= {f"tokenizer.chat_template.{name}": template[name] for name in others}
        found["tokenizer.chat_templates"] = others
        template = template.get("default")
    if template:
        found["tokenizer.chat_template"] = template
    return found


def _is_byte_level(tokenizer: Tokenizer) -> bool:
    return tokenizer.pre_tokenizer.byte_level


def _write_bytes(tokenizer: Tokenizer) -> dict[str, Any]:
    model, layout = tokenizer.model, tokenizer.layout
    asked = {
        "pre_tokenizer": tokenizer.pre_tokenizer, "normalizer": layout["normalizer"],
        "ignore_merges": model.options["ignore_merges"],
    }  # fmt: skip
    name = next((name for name, cut in CUTS.items() if _same_cut(cut, asked, layout)), None)
    if name is None:
        raise ValueError("no name of a GGUF file stands for the way in which this tokenizer cuts text")
    return {"model": "gpt2", "pre": name, "merges": [f"{left} {right}" for left, right in model.merges]}


def _around(tokenizer: Tokenizer, roles: Mapping[str, str]) -> dict[str, bool]:
    """Whether bos stands in front of a text and eos behind it; ValueError for anything else around it."""
    plain, framed = tokenizer.encode("a"), tokenizer("a")["input_ids"]
    bos, eos = (
        [tokenizer.token_to_id(roles[role])] if role in roles else [] for role in ("bos_token", "eos_token")
    )
    for front, back in ((False, False), (True, False), (False, True), (True, True)):
        if framed == bos * front + plain + eos * back and (bos or not front) and (eos or not back):
            return {"add_bos_token": front, "add_eos_token": back}
    raise ValueError(
        "a GGUF file puts bos_token and eos_token around a text, this tokenizer adds something else"
    )


def _same_cut(cut: Mapping[str, Any], asked: Mapping[str, Any], layout: Mapping[str, Any]) -> bool:
    if (
        cut.get("normalizer") != asked["normalizer"]
        or cut.get("ignore_merges", False) != asked["ignore_merges"]
    ):
        return False
    return _steps(cut["pre_tokenizer"]) == _steps(layout["pre_tokenizer"])


def _steps(layout: Any) -> list[Any]:
    """The steps of a pre-tokenizer one after another, without the settings that change no id."""
    if isinstance(layout, Mapping) and layout.get("type") == "Sequence":
        return [step for part in layout["pretokenizers"] for step in _steps(part)]
    kept = {name: value for name, value in dict(layout or {}).items() if name != "trim_offsets"}
    return [{"use_regex": True, **kept} if kept.get("type") == "ByteLevel" else kept]
