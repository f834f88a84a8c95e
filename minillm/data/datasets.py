"""Real data sets by name: from $MINILLM_DATA, else from a cache, else downloaded and checked by sha256.

`datasets.json` beside this file lists what there is: licence, origin, files with size and sha256, and the address an
ordinary user downloads from. A file is looked for, by its relative path, in
    1. the folder that the environment variable MINILLM_DATA names,
    2. the cache: $MINILLM_CACHE, or the platform's own place for caches,
and only then fetched into the cache. A split may have several sources, the complete one first: whichever is on disk is
taken, so a folder with a part of KLUE works offline.

Trust: a file with a known sha256 is checked every time it is read. Where the publisher's sha256 is not known
(`verified` is False), nothing is downloaded silently: `allow_unverified=True` does it, and the sha256 of that first
download is written down beside the file, so that later damage is noticed.

Book: 3.2 허깅페이스 허브 탐색하기, 3.3.3 데이터셋 활용하기. Peer: datasets.load_dataset. Left out: streaming, code in
data sets.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from minillm._checks import check_flag, check_function, check_text
from minillm._files import BadFileError, read_json, write_whole
from minillm.data.dataset import Dataset
from minillm.data.dataset_dict import DatasetDict
from minillm.data.dataset_files import READERS, check_options
from minillm.data.downloads import DownloadError, cache_folder, download, sha256_of
from minillm.data.hub_datasets import is_repository, load_repository
from minillm.data.readers import read_source
from minillm.data.split_names import has_pieces, load_pieces


@dataclass(frozen=True)
class SourceInfo:
    """One way to have a split. files: paths below MINILLM_DATA; urls: where each is from, or () if not on the web;
    records: rows (characters of a text, pictures, files); verified: whether every sha256 is known beforehand."""

    records: int
    note: str
    files: tuple[str, ...]
    urls: tuple[str, ...]
    verified: bool


@dataclass(frozen=True)
class DatasetInfo:
    """What a data set is and under which licence; `splits` maps each split's name to its sources, best first."""

    name: str
    about: str
    licence: str
    origin: str
    splits: Mapping[str, tuple[SourceInfo, ...]]


@lru_cache(maxsize=1)
def _registry() -> dict[str, dict]:
    return read_json(Path(__file__).with_name("datasets.json"), "list of data sets")


def dataset_names() -> list[str]:
    """The names that `load_dataset` knows, in alphabetical order."""
    return sorted(_registry())


def dataset_info(name: str) -> DatasetInfo:
    """What `name` is: licence, origin, splits, files. Raises ValueError for an unknown name."""
    entry = _entry(name)
    splits = {
        split: tuple(
            SourceInfo(
                records=source["records"],
                note=source.get("note", ""),
                files=tuple(file["path"] for file in source["files"]),
                urls=tuple(file["url"] for file in source["files"] if "url" in file),
                verified=all(file["sha256"] for file in source["files"]),
            )
            for source in sources
        )
        for split, sources in entry["splits"].items()
    }
    return DatasetInfo(name, entry["about"], entry["licence"], entry["origin"], splits)


def load_dataset(
    name: str,
    split: str | Sequence[str] | None = None,
    allow_unverified: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
    data_files: Any = None,
    *,
    subset: str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    **options: Any,
) -> Any:
    """The split of a data set: a Dataset; of the few that are no tables a str, a dict of arrays, or a dict of paths.

    name "csv", "json", "text" or "parquet": your own data_files, a path (with * for several), a list of paths, or a
    dict of them by split, with the `options` of Dataset.from_csv, ...; as in `datasets` a DatasetDict (its split
    "train" for a path or a list), or the one split that is named.
    name "owner/name", or a folder with a / in its path: the csv, jsonl or parquet files of a data set on the hub (extra
    `hub`), or of the folder: one split, or all as a DatasetDict. subset, data_files, revision, token,
    local_files_only: as in `minillm.data.hub_datasets.load_repository`.
    Any other name: what `dataset_names()` lists. Rows give a Dataset. tinyshakespeare gives one str; mnist and
    fashion_mnist {"images": (N, 28, 28), "labels": (N,)}; SQLite and tar files {name: path}. split may be left out
    where there is only one. A piece of a split: "train[:10%]", "train[-100:]", "train+test", as in `split_names.py`;
    a list of splits gives a list.
    progress(bytes so far, bytes in all or None) is called while downloading.

    Raises ValueError for an unknown name or split (with the known ones), BadFileError for a file whose content is
    not what it must be, DownloadError (an OSError) when the data is not on disk and cannot be fetched.
    """
    check_text("name", name)
    given = {"subset": subset, "revision": revision, "token": token, "local_files_only": local_files_only}

    def load(part: Any) -> Any:
        return load_dataset(name, part, allow_unverified, progress, data_files, **given, **options)

    if isinstance(split, (list, tuple)):
        return [load(part) for part in split]
    if has_pieces(split):
        return load_pieces(split, load)
    if name in READERS:
        return _own_files(name, data_files, split, options)
    if not options and is_repository(name):
        return load_repository(name, split, subset, data_files, revision, token, local_files_only)
    if data_files is not None or options:
        given = "data_files" if data_files is not None else next(iter(options))
        raise ValueError(
            f"{given} goes with the names {', '.join(map(repr, READERS))}, got the name {name!r}"
        )
    entry = _entry(name)
    if split is None and len(entry["splits"]) == 1:
        split = next(iter(entry["splits"]))
    if not isinstance(split, str) or split not in entry["splits"]:
        raise ValueError(
            f"split of {name!r} must be one of {', '.join(map(repr, entry['splits']))}, got {split!r}"
        )
    check_flag("allow_unverified", allow_unverified), check_function("progress", progress)
    sources = entry["splits"][split]
    for source in sources:
        paths = [_on_disk(file) for file in source["files"]]
        if all(paths):
            break
    else:
        source, paths = _fetch(name, split, sources, allow_unverified, progress)
    how = {**entry, **source, "add": [file.get("add", {}) for file in source["files"]]}
    value = read_source(paths, how["format"], how)
    return Dataset.from_list(value) if isinstance(value, list) else value


def _own_files(kind: str, data_files: Any, split: Any, options: Mapping[str, Any]) -> Any:
    """The user's own files as a DatasetDict, or one split of it."""
    check_options(kind, options)
    if not data_files:
        raise ValueError(
            f"load_dataset({kind!r}) needs data_files: a path, a list of paths or a dict of them"
        )
    by_split = data_files if isinstance(data_files, Mapping) else {"train": data_files}
    if split is not None and split not in by_split:
        raise ValueError(f"split must be one of {', '.join(map(repr, by_split))}, got {split!r}")
    reader = getattr(Dataset, f"from_{kind}")
    if split is not None:
        return reader(by_split[split], **options)
    return DatasetDict({part: reader(paths, **options) for part, paths in by_split.items()})


def _entry(name: str) -> dict:
    entry = _registry().get(check_text("name", name))
    if entry is None:
        close = get_close_matches(name, dataset_names(), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(f"no data set is named {name!r}{hint}; there are {', '.join(dataset_names())}")
    return entry


def _downloads() -> Path:
    return cache_folder() / "datasets"


def _on_disk(file: Mapping[str, Any]) -> Path | None:
    """The file's checked path, or None when it is nowhere."""
    own = os.environ.get("MINILLM_DATA")
    if own and not Path(own).is_dir():
        raise ValueError(f"MINILLM_DATA must name a folder, got {own!r}")
    for folder in ([Path(own)] if own else []) + [_downloads()]:
        path = folder / file["path"]
        if path.is_file():
            _check(path, file)
            return path
    return None


def _written_down(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _check(path: Path, file: Mapping[str, Any]) -> None:
    expected, noted = file["sha256"], _written_down(path)
    if expected is None and noted.is_file():
        expected = noted.read_text(encoding="ascii", errors="replace").strip()
    if expected is None:  # a file that the user put there: nothing to hold it against
        return
    found = sha256_of(path)
    if found != expected:
        raise BadFileError(
            f"data file {str(path)!r} is not the one expected: sha256 {found}, expected {expected}. "
            "Delete it and load again, or put the right file there"
        )


def _fetch(
    name: str, split: str, sources: list[dict], allow_unverified: bool, progress: Callable | None
) -> tuple[dict, list[Path]]:
    """Download the first source that is on the web; (source, paths in the cache)."""
    what = f"data set {name!r}, split {split!r}"
    places = " or ".join(_first_and_count(source["files"]) for source in sources)
    by_hand = f"put {places} into a folder and set MINILLM_DATA to that folder"
    source = next((source for source in sources if all("url" in file for file in source["files"])), None)
    if source is None:
        raise DownloadError(
            f"{what} is not on disk and is no single file on the web (it is from {_entry(name)['origin']}): {by_hand}"
        )
    unknown = [file["url"] for file in source["files"] if file["sha256"] is None]
    if unknown and not allow_unverified:
        raise DownloadError(
            f"{what} is not on disk, and the sha256 of {unknown[0]} is not known beforehand: "
            f"load it with allow_unverified=True to trust what comes, or {by_hand}"
        )
    paths = []
    for file in source["files"]:
        path = _on_disk(file) or _downloads() / file["path"]
        if not path.is_file():
            try:
                digest = download(file["url"], path, file["sha256"], file["bytes"], progress=progress)
            except OSError as error:
                raise DownloadError(
                    f"{what} cannot be downloaded: {error}. Without a network, {by_hand}"
                ) from None
            if file["sha256"] is None:
                write_whole(_written_down(path), digest + "\n")
        paths.append(path)
    return source, paths


def _first_and_count(files: list[dict]) -> str:
    more = f" (and {len(files) - 1} more, see dataset_info)" if len(files) > 1 else ""
    return files[0]["path"] + more
