"""The files by which sentence-transformers says how an encoder's tokens become one vector, or a pair's one score.

    modules.json                          which steps: Transformer, Pooling, Normalize; and where each has its files
    1_Pooling/config.json                 cls, mean or max: one key a pooling in older files, one key in newer ones
    sentence_bert_config.json             max_seq_length; newer folders have it in tokenizer_config.json
    config_sentence_transformers.json     prompts that stand in front of a text, by name

Book: 10.2 문장 임베딩 방식. Held against: sentence_transformers, which opens what is written here.
Leaves out: other modules, several poolings at once, a prompt that is left out of the pooling; they are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minillm._checks import check_int, describe
from minillm._files import BadFileError, read_json, write_checksums, write_json
from minillm.data.hub import download, find, is_name, model_files, tokenizer_files
from minillm.tokenizer import Tokenizer

MODULES, LENGTH, PROMPTS = "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"
SETTINGS = re.compile(r"\d+_\w+/config\.json")
STEPS = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}  # where we write them
POOLINGS = ("cls", "mean", "max")
FLAGS = {  # pooling_mode_... of older files
    "cls_token": "cls",
    "mean_tokens": "mean",
    "max_tokens": "max",
    "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "weightedmean_tokens": "weightedmean",
    "lasttoken": "lasttoken",
}


class SentenceSettings(NamedTuple):
    """What a folder says. inner: where in it the transformer is. width: of its vectors; max_length: in tokens; None
    where the folder does not say."""

    inner: str = ""
    pooling: str = "mean"
    width: int | None = None
    max_length: int | None = None
    prompts: Mapping[str, str] = {}
    default_prompt_name: str | None = None


class PairSettings(NamedTuple):
    """What a cross-encoder's folder says besides its model; activation: the name of a class of torch, as written."""

    inner: str = ""
    max_length: int | None = None
    activation: Any = None


E5 = SentenceSettings(  # "document" and "passage" are one to its users, and sentence-transformers asks for the first
    pooling="mean", prompts={"query": "query: ", "document": "passage: ", "passage": "passage: "}
)


def read_settings(folder: Path) -> SentenceSettings:
    """The settings of a folder; one without modules.json is averaged, as sentence-transformers does it.

    Raises BadFileError naming the file that is cut, damaged, or asks for what is not built here.
    """
    paths = _module_paths(folder / MODULES) if (folder / MODULES).exists() else {"Transformer": ""}
    inner = folder / paths["Transformer"]
    found = SentenceSettings(paths["Transformer"], max_length=_max_length(inner))
    if "Pooling" in paths:
        pooling, width = _pooling(folder / paths["Pooling"] / "config.json")
        found = found._replace(pooling=pooling, width=width)
    path = folder / PROMPTS
    given = _object(path)
    prompts, default = given.get("prompts") or {}, given.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise BadFileError(
            f"{str(path)!r} is refused: prompts must map names to texts, got {describe(prompts)}"
        )
    if default is not None and (not isinstance(default, str) or default not in prompts):
        raise BadFileError(f"{str(path)!r} is refused: no prompt is called {describe(default)}")
    return found._replace(prompts=prompts, default_prompt_name=default)


def read_pair_settings(folder: Path) -> PairSettings:
    """The settings of a cross-encoder's folder; one without modules.json is a plain model of transformers.

    Raises BadFileError naming the file that is cut, damaged, or asks for what is not built here.
    """
    inner = ""
    if (folder / MODULES).exists():
        inner = _module_paths(folder / MODULES, (["Transformer"],))["Transformer"]
    path = folder / PROMPTS
    given = _object(path)
    if given.get("default_prompt_name") is not None:
        raise BadFileError(f"{str(path)!r} is refused: a prompt in front of pairs is not built here")
    return PairSettings(inner, _max_length(folder / inner), given.get("activation_fn"))


def encoder_path(source: str | Path) -> Path:
    """Where an encoder's files are: a path, a real model's file, or the cache's folder of a name on the hub."""
    if is_name(source):
        return download(source, "model", lambda files: folder_files(source, files))
    return find(source, "model")


def check_tokenizer(tokenizer: Any, vocab_size: int) -> Tokenizer:
    """`tokenizer`, if it can pad and a model of `vocab_size` tokens knows all of its tokens; ValueError otherwise."""
    if not isinstance(tokenizer, Tokenizer) or tokenizer.pad_token_id is None:
        raise ValueError(f"tokenizer must be a Tokenizer with a padding token, got {describe(tokenizer)}")
    if tokenizer.vocab_size > vocab_size:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocab_size:,} tokens and the model {vocab_size:,}: they do not belong "
            "together"
        )
    return tokenizer


def folder_files(name: str, files: Sequence[str]) -> list[str]:
    """Of a hub repository's files those that open its encoder; BadFileError where there is none."""
    ours = [file for file in files if file in (MODULES, LENGTH, PROMPTS) or SETTINGS.fullmatch(file)]
    return sorted({*model_files(name, files), *tokenizer_files(name, files), *ours})


def write_settings(folder: Path, settings: SentenceSettings) -> None:
    """Write the files for a transformer whose own files lie in `folder`; its vectors are made of length 1."""
    flags = {f"pooling_mode_{flag}": FLAGS[flag] == settings.pooling for flag in list(FLAGS)[:4]}
    files: dict[str, Any] = {
        MODULES: [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(STEPS.items())
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": settings.width, **flags},
        LENGTH: {"max_seq_length": settings.max_length, "do_lower_case": False},
        PROMPTS: {
            "prompts": dict(settings.prompts),
            "default_prompt_name": settings.default_prompt_name,
            "similarity_fn_name": "cosine",
        },
    }
    for name, content in files.items():
        write_json(folder / name, content)
    (folder / STEPS["Normalize"]).mkdir(exist_ok=True)  # it has no settings
    write_checksums(folder, files)


def _module_paths(path: Path, known: Sequence[list[str]] = (list(STEPS), list(STEPS)[:2])) -> dict[str, str]:
    """The folder inside of each step that modules.json lists; known: the lists of steps that are built here."""
    refusal = f"list of modules {str(path)!r} is refused"
    modules, found = read_json(path, "list of modules"), {}
    for module in modules if isinstance(modules, list) else [modules]:
        kind, inner = (module.get(name) if isinstance(module, dict) else None for name in ("type", "path"))
        if not isinstance(kind, str) or not kind.startswith("sentence_transformers."):
            raise BadFileError(f"{refusal}: {describe(module)} is no module of sentence-transformers")
        if not isinstance(inner, str) or inner == ".." or set(inner) & set("/\\:"):
            raise BadFileError(f"{refusal}: {describe(inner)} is no folder inside it")
        found[kind.rpartition(".")[2]] = inner
    if list(found) not in known:
        raise BadFileError(
            f"{refusal}: it lists {', '.join(found)}; we have {', '.join(known[0])}, in this order"
        )
    return found


def _pooling(path: Path) -> tuple[str, int]:
    """(the one pooling, the width of its vectors)."""
    values = _object(path, missing=False)
    modes = values.get("pooling_mode")
    if modes is None:
        modes = [mode for flag, mode in FLAGS.items() if values.get(f"pooling_mode_{flag}")]
    modes = modes if isinstance(modes, list) else [modes]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise BadFileError(
            f"{str(path)!r} is refused: it asks for {describe(modes)}; we have {', '.join(POOLINGS)}"
        )
    if values.get("include_prompt", True) is not True:
        raise BadFileError(f"{str(path)!r} is refused: include_prompt false is not built here")
    width = values.get("embedding_dimension", values.get("word_embedding_dimension"))
    try:
        return modes[0], check_int("embedding_dimension", width, 1)
    except ValueError as error:
        raise BadFileError(f"{str(path)!r} is refused: {error}") from None


def _max_length(inner: Path) -> int | None:
    path = inner / LENGTH
    values = _object(path)
    if values.get("do_lower_case"):
        raise BadFileError(f"{str(path)!r} is refused: do_lower_case is not built here")
    longest = values.get("max_seq_length")
    if longest is None:
        path = inner / "tokenizer_config.json"
        longest = _object(path).get("model_max_length")
        if (
            isinstance(longest, (int, float)) and longest > 1e18
        ):  # transformers' way to say that there is none
            return None
    try:
        return None if longest is None else check_int("the longest text", longest, 1)
    except ValueError as error:
        raise BadFileError(f"{str(path)!r} is refused: {error}") from None


def _object(path: Path, missing: bool = True) -> dict[str, Any]:
    """The JSON object in a file; {} where there is no file and it may be `missing`."""
    if missing and not path.exists():
        return {}
    values = read_json(path, "encoder settings")
    if not isinstance(values, dict):
        raise BadFileError(f"encoder settings {str(path)!r} must hold a JSON object, got {describe(values)}")
    return values
