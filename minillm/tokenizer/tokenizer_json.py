"""tokenizer.json: one file that holds a tokenizer, in the layout of Hugging Face's tokenizers library.

    added_tokens     tokens found before the model, with their ids      normalizer, pre_tokenizer, post_processor,
    model.vocab      token -> id                                        decoder: the parts of the pipeline
    model.merges     ["Ġ t", "h e", ...] or [["Ġ", "t"], ...] in learned order

Files go both ways: tokenizers and transformers open ours with equal ids (`Tokenizer.save`), and we open theirs. A
file may ask for more than is built here. What would change ids and is not built is refused by its name, never
ignored. `MODELS` is where a further kind of model comes in.

Book: 2.2.1 토큰화. Held against: tokenizers.Tokenizer.from_file, transformers.PreTrainedTokenizerFast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from minillm._checks import check_choice, check_flag, check_int, check_path, describe
from minillm._files import BadFileError, read_json, verify_checksums
from minillm.data.e5s1 import is_e5s1
from minillm.data.hub import find
from minillm.tokenizer.base import PARTS, AddedToken, Tokenizer
from minillm.tokenizer.bpe import BPETokenizer, check_vocab, read_merges
from minillm.tokenizer.bpe_encode import BPE
from minillm.tokenizer.chat import read_roles
from minillm.tokenizer.clip import load_clip
from minillm.tokenizer.e5s1 import load_e5s1_tokenizer
from minillm.tokenizer.gguf import load_gguf_tokenizer
from minillm.tokenizer.llama2c import Llama2cTokenizer
from minillm.tokenizer.parts import as_list, as_mapping
from minillm.tokenizer.sentencepiece import load_sentencepiece
from minillm.tokenizer.special import encode_text
from minillm.tokenizer.unigram import Unigram, UnigramTokenizer
from minillm.tokenizer.wordpiece import WordPiece, WordPieceTokenizer


def load_tokenizer(
    path: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Tokenizer:
    """Open a tokenizer: a folder with tokenizer.json (or GPT-2's vocab.json and merges.txt, or BERT's vocab.txt), such
    a file, SentencePiece's `.model`, a llama2.c or an E5S1 `.bin`, CLIP's list of merges (`.txt.gz`), or a `.gguf`.
    A folder's chat template and what its special tokens are there for come with it: `chat_template`, `roles`.

    A name serves, too: a real model's ("smollm2"), or "owner/name" of the hub, as in `load_model`.
    A folder with vocab.txt alone is uncased unless its tokenizer_config.json says `do_lower_case` false.

    Raises:
        BadFileError: the file is missing, cut short, damaged, or asks for something that is not built here.
        ValueError: `path` is no path.
    """
    check_path("path", path)
    path = find(path, "tokenizer", revision, token, local_files_only)
    if path.is_dir():
        tokenizer = _in_folder(path)
        read_roles(tokenizer, path)
        return tokenizer
    if path.suffix == ".bin":
        return load_e5s1_tokenizer(path) if is_e5s1(path) else Llama2cTokenizer.from_file(path)
    if path.suffix == ".model":
        return load_sentencepiece(path)
    if path.suffix == ".gz":
        return load_clip(path)
    if path.suffix == ".gguf":
        return load_gguf_tokenizer(path)
    return _from_file(path)


def _in_folder(path: Path) -> Tokenizer:
    old_pair = path / "vocab.json", path / "merges.txt"
    if not (path / "tokenizer.json").exists() and all(file.exists() for file in old_pair):
        return BPETokenizer.from_files(*old_pair)
    if not (path / "tokenizer.json").exists() and (path / "vocab.txt").exists():
        return _bert_folder(path)
    verify_checksums(path)
    return _from_file(path / "tokenizer.json")


def _from_file(path: Path) -> Tokenizer:
    content = read_json(path, "tokenizer")
    try:
        return from_json(content)
    except (ValueError, RecursionError) as error:  # parts may be nested without end
        raise BadFileError(f"tokenizer {str(path)!r} is refused: {error}") from None


def _bert_folder(path: Path) -> WordPieceTokenizer:
    config: dict[str, Any] = {}
    if (path / "tokenizer_config.json").exists():
        file = path / "tokenizer_config.json"
        config = read_json(file, "tokenizer")
        if not isinstance(config, dict):
            raise BadFileError(f"tokenizer {str(file)!r} is refused: it holds no object")
    options = {"lowercase": "do_lower_case", "strip_accents": "strip_accents", "tokenize_chinese_chars": None}
    chosen = {name: config[key or name] for name, key in options.items() if (key or name) in config}
    return WordPieceTokenizer.from_vocab(path / "vocab.txt", **chosen)


def from_json(content: Any) -> Tokenizer:
    """The tokenizer that the content of a tokenizer.json describes; ValueError naming what cannot be honoured."""
    content = as_mapping("the file", content)
    model = as_mapping("model", content.get("model"))
    kind = model.get("type")
    if not isinstance(kind, str) or kind not in MODELS:
        raise ValueError(f"model.type must be {' or '.join(map(repr, MODELS))}, got {describe(kind)}")
    tokens = [_added_token(t) for t in as_list("added_tokens", content.get("added_tokens") or [])]
    if len({token.content for token in tokens}) < len(tokens):
        raise ValueError("an added token is listed twice")
    tokenizer = MODELS[kind](model, tokens, {name: content.get(name) for name in PARTS})
    _keep_defaults(tokenizer, content)
    return tokenizer


def _keep_defaults(tokenizer: Tokenizer, content: dict[str, Any]) -> None:
    """`truncation` and `padding` of a file: sides, the length of `truncation=True`, what fills a batch.

    As in transformers a call cuts and fills only if it is asked to. Both are written back when the tokenizer is saved.
    """
    known = {
        "truncation": {"direction", "max_length", "strategy", "stride"},
        "padding": {"strategy", "direction", "pad_to_multiple_of", "pad_id", "pad_type_id", "pad_token"},
    }
    for name, options in known.items():
        if (value := content.get(name)) is None:
            continue
        if set(as_mapping(name, value)) | {"direction"} != options:
            raise ValueError(f"{name} {describe(value)} is not supported")
        side = check_choice(f"{name}.direction", value.get("direction", "Right"), ("Right", "Left")).lower()
        tokenizer.kept[name] = value
        if name == "truncation":
            tokenizer.truncation_side = side
            tokenizer.model_max_length = check_int("truncation.max_length", value["max_length"], 1)
            continue
        tokenizer.padding_side = side
        index = check_int("padding.pad_id", value["pad_id"], 0, tokenizer.vocab_size - 1)
        if value["pad_type_id"] != 0 or tokenizer.id_to_token(index) != value["pad_token"]:
            raise ValueError(f"padding {describe(value)} is not supported")
        tokenizer.pad_token_id = index


def _bpe(model: dict[str, Any], tokens: list[AddedToken], layout: dict[str, Any]) -> BPETokenizer:
    merges = read_merges(as_list("model.merges", model.get("merges")))
    options = {name: value for name, value in model.items() if name not in ("type", "vocab", "merges")}
    return BPETokenizer.from_parts(BPE(check_vocab(model.get("vocab")), merges, options), tokens, layout)


def _wordpiece(model: dict[str, Any], tokens: list[AddedToken], layout: dict[str, Any]) -> WordPieceTokenizer:
    options = {name: value for name, value in model.items() if name not in ("type", "vocab")}
    return WordPieceTokenizer(WordPiece(check_vocab(model.get("vocab")), options), tokens, layout)


def _unigram(model: dict[str, Any], tokens: list[AddedToken], layout: dict[str, Any]) -> UnigramTokenizer:
    options = {name: value for name, value in model.items() if name not in ("type", "vocab")}
    if strange := sorted(options.keys() - {"unk_id", "byte_fallback"}):
        raise ValueError(f"model.{strange[0]} {describe(options[strange[0]])} is not supported")
    return UnigramTokenizer(Unigram(as_list("model.vocab", model.get("vocab")), **options), tokens, layout)


MODELS: dict[str, Callable[[dict[str, Any], list[AddedToken], dict[str, Any]], Tokenizer]] = {
    "BPE": _bpe,
    "WordPiece": _wordpiece,
    "Unigram": _unigram,
}


def _added_token(token: Any) -> AddedToken:
    token = as_mapping("an added token", token)
    name, index = token.get("content"), token.get("id")
    if not isinstance(name, str) or not name or type(index) is not int:
        raise ValueError(f"an added token must have a content and an id, got {describe(token)}")
    encode_text(name, "an added token")
    known = {field.name for field in fields(AddedToken)}
    if unknown := sorted(token.keys() - known):
        raise ValueError(f"added token {name!r} with {unknown[0]} is not supported")
    flags = {
        flag: check_flag(f"{flag} of {name!r}", token.get(flag, False)) for flag in known - {"id", "content"}
    }
    return AddedToken(index, name, **flags)
