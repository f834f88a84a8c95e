"""tokenizer.json: one file that holds a tokenizer, in the layout of Hugging Face's tokenizers library.

    added_tokens     special tokens with their ids          pre_tokenizer   how text is cut into pieces
    model.vocab      printable token -> id                  decoder         ids to bytes to text
    model.merges     ["Ġ t", "h e", ...] in learned order

Saving and loading go both ways: tokenizers and transformers open ours with equal ids, and we open the byte-level BPE
files they write. A file may ask for much more (normalizers, dropout, templates). What would change ids and is not
built here is refused by its name, never ignored.

Book: 2.2.1 토큰화. Held against: tokenizers.Tokenizer.from_file, transformers.PreTrainedTokenizerFast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minillm._checks import check_path, describe
from minillm._files import BadFileError, read_json, write_json
from minillm.tokenizer.bpe import BPETokenizer, build_tokenizer
from minillm.tokenizer.byte_alphabet import to_characters
from minillm.tokenizer.llama2c import Llama2cTokenizer
from minillm.tokenizer.splitting import GPT2_PATTERN

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_ADDED_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
_MODEL_DEFAULTS = {  # model options with the only values we honour; the first is what we write
    "dropout": (None, 0.0),
    "unk_token": (None,),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "fuse_unk": (False, True),  # without an unknown token nothing can be fused
    "byte_fallback": (False,),
    "ignore_merges": (False,),
}


def to_json(tokenizer: BPETokenizer) -> dict[str, Any]:
    """The content of tokenizer.json as a dict."""
    if tokenizer.pattern == GPT2_PATTERN:
        pre_tokenizer: dict[str, Any] = _BYTE_LEVEL
    else:
        cut = {
            "type": "Split",
            "pattern": {"Regex": tokenizer.pattern},
            "behavior": "Isolated",
            "invert": False,
        }
        pre_tokenizer = {"type": "Sequence", "pretokenizers": [cut, {**_BYTE_LEVEL, "use_regex": False}]}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": index, "content": name, **_ADDED_FLAGS}
            for name, index in sorted(tokenizer.special_tokens.items(), key=lambda item: item[1])
        ],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": _BYTE_LEVEL,
        "model": {
            "type": "BPE",
            **{name: values[0] for name, values in _MODEL_DEFAULTS.items()},
            "vocab": tokenizer.vocab,
            "merges": [f"{to_characters(left)} {to_characters(right)}" for left, right in tokenizer.merges],
        },
    }


def save_tokenizer(tokenizer: BPETokenizer, path: str | Path) -> Path:
    """Write a file `path` that ends in .json, or tokenizer.json (and tokenizer_config.json, which tells transformers
    how to open it) into the folder `path`, each whole or not at all. Returns the path of tokenizer.json."""
    path = check_path("path", path)
    if path.suffix == ".json":
        return write_json(path, to_json(tokenizer))
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    if "<|endoftext|>" in tokenizer.special_tokens:
        config["eos_token"] = "<|endoftext|>"
    write_json(path / "tokenizer_config.json", config)
    return write_json(path / "tokenizer.json", to_json(tokenizer))


def load_tokenizer(path: str | Path) -> BPETokenizer | Llama2cTokenizer:
    """Open a tokenizer: a folder with tokenizer.json (or GPT-2's vocab.json and merges.txt), such a file, or a
    llama2.c `.bin`.

    Raises:
        BadFileError: the file is missing, cut short, damaged, or asks for something that is not built here.
        ValueError: `path` is no path.
    """
    path = check_path("path", path)
    if path.is_dir():
        old_pair = path / "vocab.json", path / "merges.txt"
        if not (path / "tokenizer.json").exists() and all(file.exists() for file in old_pair):
            return BPETokenizer.from_files(*old_pair)
        path = path / "tokenizer.json"
    elif path.suffix == ".bin":
        return Llama2cTokenizer.from_file(path)
    content = read_json(path, "tokenizer")
    try:
        return from_json(content)
    except ValueError as error:
        raise BadFileError(f"tokenizer {str(path)!r} is refused: {error}") from None


def from_json(content: Any) -> BPETokenizer:
    """The tokenizer that the content of a tokenizer.json describes; ValueError naming what cannot be honoured."""
    content = _mapping("the file", content)
    model = _mapping("model", content.get("model"))
    if model.get("type") != "BPE":
        raise ValueError(f"model.type must be 'BPE', got {describe(model.get('type'))}")
    for name, values in _MODEL_DEFAULTS.items():
        if model.get(name, values[0]) not in values:
            raise ValueError(f"model.{name} {describe(model[name])} is not supported")
    for name in ("normalizer", "truncation", "padding"):
        if content.get(name) is not None:
            kind = content[name].get("type") if isinstance(content[name], dict) else None
            raise ValueError(f"{name} {kind or describe(content[name])} is not supported")
    _require_byte_level("decoder", content.get("decoder"), optional=True)
    _require_byte_level("post_processor", content.get("post_processor"), optional=True)
    pattern = _pattern(content.get("pre_tokenizer"))

    vocab = dict(_mapping("model.vocab", model.get("vocab")))
    special = []
    for token in _sequence("added_tokens", content.get("added_tokens") or []):
        token = _mapping("an added token", token)
        name, index = token.get("content"), token.get("id")
        if not isinstance(name, str) or not name or type(index) is not int:
            raise ValueError(f"an added token must have a content and an id, got {describe(token)}")
        for flag in ("single_word", "lstrip", "rstrip"):
            if token.get(flag):
                raise ValueError(f"added token {name!r} with {flag} is not supported")
        if not token.get("special"):
            raise ValueError(f"added token {name!r} that is not special is not supported")
        if vocab.setdefault(name, index) != index:
            raise ValueError(f"added token {name!r} has two ids, {vocab[name]} and {index}")
        special.append(name)
    merges = [
        merge.split(" ") if isinstance(merge, str) else merge
        for merge in _sequence("model.merges", model.get("merges"))
    ]
    for merge in merges:
        _sequence("a merge", merge)
    return build_tokenizer(vocab, merges, special, pattern)


def _pattern(pre_tokenizer: Any) -> str:
    """The splitting pattern of a ByteLevel, or of a Sequence of Split and ByteLevel."""
    pre_tokenizer = _mapping("pre_tokenizer", pre_tokenizer)
    if pre_tokenizer.get("type") == "ByteLevel":
        _require_byte_level("pre_tokenizer", pre_tokenizer, use_regex=True)
        return GPT2_PATTERN
    if pre_tokenizer.get("type") != "Sequence":
        raise ValueError(f"pre_tokenizer {describe(pre_tokenizer.get('type'))} is not supported")
    steps = [
        _mapping("a pre_tokenizer", step)
        for step in _sequence("pretokenizers", pre_tokenizer.get("pretokenizers"))
    ]
    if [step.get("type") for step in steps] != ["Split", "ByteLevel"]:
        raise ValueError(f"pre_tokenizer sequence {[step.get('type') for step in steps]} is not supported")
    _require_byte_level("pre_tokenizer", steps[1], use_regex=False)
    cut = steps[0]
    if cut.get("behavior") != "Isolated" or cut.get("invert"):
        raise ValueError(
            f"pre_tokenizer Split with behavior {cut.get('behavior')!r}, invert {cut.get('invert')!r} is not supported"
        )
    pattern = _mapping("a Split's pattern", cut.get("pattern")).get("Regex")
    if not isinstance(pattern, str):
        raise ValueError(f"a Split's pattern must be a Regex, got {describe(cut.get('pattern'))}")
    return pattern


def _require_byte_level(what: str, value: Any, optional: bool = False, use_regex: bool | None = None) -> None:
    if value is None and optional:
        return
    value = _mapping(what, value)
    if value.get("type") != "ByteLevel":
        raise ValueError(f"{what} {describe(value.get('type'))} is not supported")
    if what == "pre_tokenizer" and value.get("add_prefix_space", True):
        raise ValueError(
            "pre_tokenizer ByteLevel with add_prefix_space is not supported: it changes the text"
        )
    if use_regex is not None and value.get("use_regex", True) is not use_regex:
        raise ValueError(
            f"pre_tokenizer ByteLevel with use_regex={value.get('use_regex')!r} is not supported here"
        )


def _mapping(what: str, value: Any) -> dict:
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be an object, got {describe(value)}")
    return value


def _sequence(what: str, value: Any) -> list:
    if not isinstance(value, list):
        raise ValueError(f"{what} must be a list, got {describe(value)}")
    return value
