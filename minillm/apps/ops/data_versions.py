"""Versions of a folder of data (데이터 버전 관리): the version's name is the checksum of all that is in it.

    manifest = sorted [file name, sha256(content)]          version = sha256(manifest)

The same files have the same version on every machine; one changed byte has another. A file that two versions share is
kept once. `restore` gives back exactly the bytes and names that were added.

Book: 13.1.1 데이터 관리. Peers: DVC, git. Left out: empty folders and permissions (as git), merging, remote stores.
Links are refused, because what they lead to may lie outside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from minillm._checks import check_path, check_text, describe
from minillm._files import BadFileError, read_bytes, stays_inside, write_folder_whole
from minillm.apps.ops.records import Records, address, check_records


class Diff(NamedTuple):
    """Names of files: only in the new version, only in the old one, in both with other content."""

    added: list[str]
    removed: list[str]
    changed: list[str]


def manifest_bytes(files: Mapping[str, str]) -> bytes:
    """One text for one content, whatever the order of the files."""
    return json.dumps(sorted(files.items()), ensure_ascii=False, separators=(",", ":")).encode()


def diff_manifests(old: Mapping[str, str], new: Mapping[str, str]) -> Diff:
    """What changed from one {name: address} to another; no file is opened for it."""
    return Diff(
        added=sorted(new.keys() - old.keys()),
        removed=sorted(old.keys() - new.keys()),
        changed=sorted(name for name in new.keys() & old.keys() if new[name] != old[name]),
    )


class DataVersions:
    """The versions of a project's data."""

    def __init__(self, records: Records) -> None:
        self.records = check_records(records)

    def add(self, folder: str | Path, message: str = "") -> str:
        """Keep the folder as it is now; returns its version. A content that is there already has its version.

        Raises ValueError for no folder, a link in it, a name that leads outside on some system, or a folder in which
        the records themselves lie; then no version is added.
        """
        check_text("message", message)
        paths = _files_of(check_path("folder", folder))
        if self.records.folder.resolve().is_relative_to(Path(folder).resolve()):
            raise ValueError(
                f"the records lie in {str(folder)!r}: every version would hold all versions before it"
            )
        files = {name: self.records.put(read_bytes(path, "data file")) for name, path in paths.items()}
        version = self.records.put(manifest_bytes(files))
        with self.records.transaction(write=True) as rows:
            rows.execute("INSERT OR IGNORE INTO data (version, message) VALUES (?, ?)", (version, message))
        return version

    def log(self) -> list[tuple[str, str]]:
        """(version, message) of all, oldest first."""
        with self.records.transaction() as rows:
            return rows.execute("SELECT version, message FROM data ORDER BY number").fetchall()

    def files(self, version: str) -> dict[str, str]:
        """{name: address} of a version; ValueError for one that was never added."""
        if version not in [known for known, _ in self.log()]:
            raise ValueError(f"there is no data version {describe(version)}")
        pairs = json.loads(self.records.get(version))
        if not all(stays_inside(name) for name, _ in pairs):
            raise BadFileError(f"data version {version} names a file outside its folder")
        return dict(pairs)

    def diff(self, old: str, new: str) -> Diff:
        """What changed between two versions."""
        return diff_manifests(self.files(old), self.files(new))

    def restore(self, version: str, folder: str | Path) -> Path:
        """Write the version into `folder`, which must be new or empty; whole or not at all.

        Raises ValueError where the file system makes one name of two ("A" and "a" on Windows and macOS).
        """
        files, folder = self.files(version), check_path("folder", folder)
        if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
            raise ValueError(f"folder must be new or empty, {str(folder)!r} is not")

        def write(draft: Path) -> None:
            for name, content in files.items():
                path = draft / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.exists():
                    raise ValueError(
                        f"{name!r} cannot be restored here: the file system has the name already"
                    )
                path.write_bytes(self.records.get(content))

        return write_folder_whole(folder, write)


def folder_version(folder: str | Path) -> str:
    """The version that `add` would give a folder, and nothing kept: has it changed since?"""
    paths = _files_of(check_path("folder", folder))
    files = {name: address(read_bytes(path, "data file")) for name, path in paths.items()}
    return address(manifest_bytes(files))


def _files_of(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise ValueError(f"folder must be a folder that is there, got {str(folder)!r}")
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise ValueError(
                f"{name!a} is a link or no ordinary file: what it leads to may change or lie outside"
            )
        if path.is_dir():
            continue
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the name {name!a} is no UTF-8") from None
        if not stays_inside(name):
            raise ValueError(f"the name {name!r} leads outside on some system: it holds ':' or a backslash")
        found[name] = path
    return found
