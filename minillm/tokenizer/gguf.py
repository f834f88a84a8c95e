"""The tokenizer inside a GGUF file: tokens, their kinds and merges among the metadata, both ways.

    tokenizer.ggml.model    "gpt2": byte-level BPE, the only kind built here
    tokenizer.ggml.pre      how text is cut, by a name: the pattern itself is not in the file, but in `CUTS`
    tokenizer.ggml.tokens, .merges, .token_type (1 ordinary, 3 control, 4 added by a user, 5 unused)
    tokenizer.chat_template, .bos_token_id, .eos_token_id, .padding_token_id

Book: 2.2.1 토큰화, 3.2. Held against: tokenizers, llama.cpp. Leaves out: SentencePiece and WordPiece vocabularies.
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
from minillm.tokenizer.splitting import GPT2_PATTERN

ORDINARY, CONTROL, USER, UNUSED = 1, 3, 4, 5
ROLES = {"bos_token": "bos_token_id", "eos_token": "eos_token_id", "pad_token": "padding_token_id"}
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
_DECODER = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def load_gguf_tokenizer(path: str | Path) -> BPETokenizer:
    """The tokenizer of a GGUF file; `chat_template` and `roles` (bos_token and the like) are the file's own.

    Raises BadFileError for a file that is cut, damaged, or whose tokenizer is of a kind that is not built here.
    """
    metadata = read_gguf(path).metadata
    try:
        return tokenizer_from(metadata)
    except ValueError as error:
        raise BadFileError(f"tokenizer of {str(path)!r} is refused: {error}") from None


def tokenizer_from(metadata: Mapping[str, Any]) -> BPETokenizer:
    """The tokenizer that a file's metadata describe; ValueError naming what is missing or not built here."""
    own = {name.removeprefix("tokenizer.ggml."): value for name, value in metadata.items()}
    if not isinstance(own.get("model"), str) or own["model"] != "gpt2":
        raise ValueError(
            f"it holds the vocabulary of a {describe(own.get('model'))} tokenizer; we read 'gpt2'"
        )
    if not isinstance(own.get("pre"), str) or own["pre"] not in CUTS:
        raise ValueError(f"it cuts text by {describe(own.get('pre'))}, we know {', '.join(CUTS)}")
    cut = CUTS[own["pre"]]
    tokens, merges = own.get("tokens"), own.get("merges")
    if not isinstance(tokens, list) or not isinstance(merges, list):
        raise ValueError("it lacks tokens or merges")
    kinds = own.get("token_type", np.full(len(tokens), ORDINARY))
    if not isinstance(kinds, np.ndarray) or len(kinds) != len(tokens):
        raise ValueError(
            f"token_type must name a kind for each of {len(tokens)} tokens, got {describe(kinds)}"
        )
    vocab = {token: index for index, token in enumerate(tokens)}
    if len(vocab) < len(tokens):
        raise ValueError("a token comes twice")
    ids = {role: own.get(name) for role, name in ROLES.items()}
    for role, index in ids.items():
        if index is not None:
            check_int(role, index, 0, len(tokens) - 1)
    layout = {"normalizer": cut.get("normalizer"), "pre_tokenizer": cut["pre_tokenizer"], "decoder": _DECODER}
    layout["post_processor"] = _frame(tokens, ids, own)
    added = [
        AddedToken(index, tokens[index], special=bool(kinds[index] != USER))
        for index in np.flatnonzero(~np.isin(kinds, (ORDINARY, UNUSED))).tolist()
    ]
    options = {"ignore_merges": cut.get("ignore_merges", False)}
    tokenizer = BPETokenizer.from_parts(BPE(check_vocab(vocab), read_merges(merges), options), added, layout)
    template = metadata.get("tokenizer.chat_template")
    tokenizer.chat_template = template if isinstance(template, str) else None
    tokenizer.roles = {role: tokens[index] for role, index in ids.items() if index is not None}
    return tokenizer


def _frame(tokens: list[str], ids: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any] | None:
    """The post-processor that puts the tokens around a text which the file wants there."""
    front = [tokens[ids["bos_token"]]] if own.get("add_bos_token") and ids["bos_token"] is not None else []
    back = [tokens[ids["eos_token"]]] if own.get("add_eos_token") and ids["eos_token"] is not None else []
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
    tokenizer that is no byte-level BPE, or is cut in a way that no name in CUTS stands for.
    """
    model, layout = tokenizer.model, tokenizer.layout
    check_int("rows", rows, tokenizer.vocab_size)
    if not isinstance(model, BPE) or not tokenizer.pre_tokenizer.byte_level:
        raise ValueError(f"a GGUF file holds byte-level BPE here, got {describe(tokenizer)}")
    asked = {
        "pre_tokenizer": tokenizer.pre_tokenizer, "normalizer": layout["normalizer"],
        "ignore_merges": model.options["ignore_merges"],
    }  # fmt: skip
    name = next((name for name, cut in CUTS.items() if _same_cut(cut, asked, layout)), None)
    if name is None:
        raise ValueError("no name of a GGUF file stands for the way in which this tokenizer cuts text")
    tokens = [f"[PAD{index}]" for index in range(rows)]
    kinds = np.full(rows, UNUSED, np.int32)
    for token, index in tokenizer.vocab.items():
        tokens[index], kinds[index] = token, ORDINARY
    for token in tokenizer.added_tokens.values():
        kinds[token.id] = CONTROL if token.special else USER
    metadata: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": name,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [f"{left} {right}" for left, right in model.merges],
    }
    framed = tokenizer("a")["input_ids"]
    plain = tokenizer.encode("a")
    roles = dict(getattr(tokenizer, "roles", {}))
    bos = tokenizer.token_to_id(roles["bos_token"]) if "bos_token" in roles else None
    if framed not in (plain, [bos, *plain]):
        raise ValueError(
            "a GGUF file puts a bos_token alone in front of a text, this tokenizer adds something else"
        )
    metadata["tokenizer.ggml.add_bos_token"] = framed != plain
    for role, index in ((role, tokenizer.token_to_id(token)) for role, token in roles.items()):
        if index is not None:
            metadata[f"tokenizer.ggml.{ROLES[role]}"] = index
    if template := getattr(tokenizer, "chat_template", None):
        metadata["tokenizer.chat_template"] = template
    return metadata


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
