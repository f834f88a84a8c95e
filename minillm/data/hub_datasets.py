"""A data set of the hub, or a folder laid out like one: which of its files belong to which split.

    load_dataset("owner/name", split="train")                       README.md's list of files, where it has one
    data/train-00000-of-00002.parquet, test.csv, dev/rows.jsonl     else the split stands in the file's or folder's name

Only the files of the split that is asked for are downloaded; a program that comes with a data set is never run. Where
a folder holds several kinds of table, the commonest is read.

Book 3.2.2 데이터셋 허브, 3.3.3 데이터셋 활용하기. Peer: datasets.load_dataset.
Leaves out: streaming, packed files, pictures and sounds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from minillm._checks import check_text, describe
from minillm._files import BadFileError
from minillm.data.dataset import Dataset
from minillm.data.dataset_dict import DatasetDict
from minillm.data.hub import download, is_name, metadata

KINDS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv"}
WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
CARD = "README.md"


def is_repository(name: Any) -> bool:
    """Whether `name` is a folder of data files, or can be a data set's name on the hub."""
    return isinstance(name, str) and "/" in name and (Path(name).is_dir() or is_name(name))


def load_repository(
    name: str,
    split: str | None = None,
    subset: str | None = None,
    data_files: Any = None,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Dataset | DatasetDict:
    """One split as a Dataset, or all of them as a DatasetDict.

    subset: of the parts that README.md lists, or a folder, where there are several. data_files: names or patterns in
    the repository, one, a list, or a dict of them by split. The others: as in `minillm.data.hub.find`. Raises
    ValueError for a split or subset that is not there, BadFileError where no file is a table, and as `find`.
    """
    for what, value in (("split", split), ("subset", subset)):
        if value is not None:
            check_text(what, value)
    picked: dict[str, list[str]] = {}

    def choose(files: Sequence[str], card: Mapping[str, Any]) -> list[str]:
        picked.clear()
        picked.update(files_by_split(name, files, card, subset, data_files))
        if split is not None:
            if split not in picked:
                raise ValueError(
                    f"split of {name} must be one of {', '.join(map(repr, picked))}, got {split!r}"
                )
            for other in picked.keys() - {split}:
                del picked[other]
        return [file for files in picked.values() for file in files]

    if (folder := Path(name)).is_dir():
        card = folder / CARD
        there = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
        choose(there, metadata(card) if card.is_file() else {})
    else:
        place = (revision, token, local_files_only)
        folder = download(
            name, "dataset", lambda files: [CARD] if CARD in files else choose(files, {}), *place
        )
        if (folder / CARD).is_file():
            card = metadata(folder / CARD)
            folder = download(name, "dataset", lambda files: choose(files, card), *place)
    read = {
        part: getattr(Dataset, f"from_{KINDS[PurePosixPath(files[0]).suffix]}")(
            [folder / file for file in files]
        )
        for part, files in picked.items()
    }
    return DatasetDict(read) if split is None else read[split]


def files_by_split(
    name: str, files: Sequence[str], card: Mapping[str, Any], subset: str | None, data_files: Any
) -> dict[str, list[str]]:
    """{split: its files} out of a repository's list of files; card: what README.md's head says."""
    if data_files is not None:
        given = data_files if isinstance(data_files, Mapping) else {"train": data_files}
        found = {part: _matching(files, patterns) for part, patterns in given.items()}
        if missing := [part for part, files in found.items() if not files]:
            raise ValueError(f"{name} has no file for data_files {describe(given[missing[0]])}")
        if strange := [
            file for files in found.values() for file in files if PurePosixPath(file).suffix not in KINDS
        ]:
            raise ValueError(f"data_files must be {', '.join(KINDS)}, got {strange[0]!r}")
        return found
    if parts := _listed(name, card, subset):
        return {part: _tables(name, _matching(files, patterns), files) for part, patterns in parts.items()}
    if subset is not None:
        inside = [file for file in files if file.startswith(f"{subset}/")]
        if not inside:
            raise ValueError(f"{name} has no subset {subset!r}")
        files = inside
    found = {}
    for file in _tables(name, files, files):
        found.setdefault(split_of(file) or "train", []).append(file)
    return found


def split_of(file: str) -> str | None:
    """The split that a file's name says, else its folders'; None where neither does."""
    path = PurePosixPath(file)
    for part in (path.stem, *reversed(path.parts[:-1])):
        for split, words in WORDS.items():
            if re.search(rf"(^|[-._ 0-9])({'|'.join(words)})([-._ 0-9]|$)", part.lower()):
                return split
    return None


def _tables(name: str, files: Sequence[str], there: Sequence[str]) -> list[str]:
    """Those that are tables, of the commonest kind."""
    counts = Counter(ending for file in files if (ending := PurePosixPath(file).suffix) in KINDS)
    if not counts:
        raise BadFileError(
            f"{name} holds no {', '.join(KINDS)} file to read, but {', '.join(sorted(there)[:3])}"
        )
    kind = max(KINDS, key=lambda ending: counts[ending])
    return sorted(file for file in files if PurePosixPath(file).suffix == kind)


def _matching(files: Sequence[str], patterns: Any) -> list[str]:
    patterns = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(patterns, Sequence) or not all(isinstance(one, str) for one in patterns):
        raise ValueError(f"data files are named by texts, got {describe(patterns)}")
    return sorted(
        file for file in files if any(fnmatchcase(file, one.removeprefix("./")) for one in patterns)
    )


def _listed(name: str, card: Mapping[str, Any], subset: str | None) -> dict[str, Any]:
    """{split: patterns} of the subset in README.md's `configs`; {} where there is no such list."""
    configs = card.get("configs")
    if not isinstance(configs, list) or not all(
        isinstance(one, Mapping) and one.get("data_files") for one in configs
    ):
        return {}
    known = {str(one.get("config_name", "default")): one for one in configs}
    marked = [one for one, config in known.items() if config.get("default") is True or one == "default"]
    chosen = subset or (marked or list(known))[0]
    if chosen not in known or (subset is None and len(known) > 1 and not marked):
        came = f", got {subset!r}" if subset else ": name one with subset="
        raise ValueError(f"{name} has the subsets {', '.join(map(repr, known))}{came}")
    listed = known[chosen]["data_files"]
    if isinstance(listed, Mapping):
        return dict(listed)
    if isinstance(listed, list) and all(
        isinstance(one, Mapping) and {"split", "path"} <= set(one) for one in listed
    ):
        return {str(one["split"]): one["path"] for one in listed}
    return {"train": listed}
