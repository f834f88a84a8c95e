"""Files written whole or not at all, and read whole or refused by name. Nothing here is ever unpickled.

`save_arrays`/`load_arrays` is the one container for our own binary files (search indexes, training state):
a safetensors file whose metadata names its kind, carries a small JSON and a sha256 of everything in it, so that
a file cut short, of another kind, or with a flipped bit is refused instead of half-loaded. Files whose layout others
fixed (config.json, tokenizer.json) have no room for that: `write_checksums`/`verify_checksums` keep theirs beside them.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as _load_safetensors
from safetensors.numpy import save as _save_safetensors

from minillm._arrays import plain_item
from minillm._checks import check_path

CHECKSUMS = "checksums.json"


class BadFileError(ValueError):
    """A file that is missing, cut short, damaged, or not what its name promised."""


def replace_whole(path: str | Path, write: Callable[[Path], None]) -> Path:
    """Let `write(temporary)` make a file beside `path`, then move it into place in one step.

    Whatever stops `write` (an error, Ctrl-C, a full disk) leaves the old file as it was and nothing half-written.
    """
    path = check_path("path", path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:  # it names the temporary file, which nobody asked for
        raise OSError(error.errno, error.strerror, str(path)) from None
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        # mkstemp makes private files; a saved model should be an ordinary one
        temporary.chmod(0o666 & ~umask)
        try:
            temporary.replace(path)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_whole(path: str | Path, content: bytes | str) -> Path:
    """Write bytes, or text as UTF-8 with its newlines kept, whole or not at all.

    Raises ValueError for a text that UTF-8 cannot hold (half a surrogate pair).
    """
    data = _utf8(content, path) if isinstance(content, str) else content
    return replace_whole(path, lambda temporary: temporary.write_bytes(data))


def write_folder_whole(folder: str | Path, write: Callable[[Path], Any]) -> Path:
    """Let `write(temporary)` fill a folder beside `folder`, then move it into place in one step.

    Whatever stops `write` leaves nothing behind. OSError where `folder` is there and not empty.
    """
    folder = check_path("folder", folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    try:
        write(draft)
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o777 & ~umask)  # mkdtemp makes private ones
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _utf8(text: str, path: str | Path) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        around = text[max(0, error.start - 20) : error.end + 20]
        raise ValueError(
            f"{str(path)!r} cannot be written: its text holds half a surrogate pair, which is no character, "
            f"in {around!a}"
        ) from None


def write_json(path: str | Path, value: Any) -> Path:
    """Write a JSON file with no newline at its end, so that losing any byte of it makes it invalid.

    Single numbers of numpy and torch are written as the numbers they are.
    """
    return write_whole(path, json.dumps(value, ensure_ascii=False, indent=2, default=_plain_number))


def _plain_number(value: Any) -> Any:
    """A number that JSON has no word for: `vocab_size=ids.max() + 1` in a config, say. TypeError for what is none."""
    plain = plain_item(value)
    if plain is not value:
        return plain
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def read_bytes(path: str | Path, what: str = "file") -> bytes:
    """The file's bytes; BadFileError naming `what` and the path if it cannot be read."""
    path = check_path(what, path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadFileError(f"{what} {str(path)!r} cannot be read: {error.strerror or error}") from None


def map_file(path: str | Path, what: str = "file", access: int = mmap.ACCESS_READ) -> mmap.mmap:
    """The file mapped for reading, so that its bytes are read where they are used; BadFileError as `read_bytes`, and
    for an empty file, which cannot be mapped. access: mmap.ACCESS_COPY for a memory that may be written to, which the
    file never sees."""
    path = check_path(what, path)
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=access)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is empty"
        raise BadFileError(f"{what} {str(path)!r} cannot be read: {why}") from None


def read_json(path: str | Path, what: str = "JSON file") -> Any:
    """The parsed JSON value; BadFileError naming `what` and the path if it is missing, cut or not UTF-8."""
    data = read_bytes(path, what)
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested without end
        raise BadFileError(f"{what} {str(path)!r} is not a whole JSON file: {error}") from None


def write_checksums(folder: str | Path, names: Iterable[str]) -> Path:
    """Write checksums.json into `folder`: {"config.json": sha256 of its bytes, ...} for the files called `names`.

    Call it after the files are written. Names that it held before are kept, so that a model and its tokenizer can be
    saved one after the other; a name without a file is dropped.
    """
    folder, fresh = check_path("folder", folder), set(names)
    try:
        known = _read_checksums(folder)
    except BadFileError:  # damaged: it is written anew
        known = {}
    there = [name for name in sorted({*known, *fresh}) if (folder / name).is_file()]
    return write_json(
        folder / CHECKSUMS,
        {name: _file_digest(folder / name) if name in fresh else known[name] for name in there},
    )


def verify_checksums(folder: str | Path) -> None:
    """BadFileError naming the first file of `folder` that differs from checksums.json, or is gone.

    A folder without checksums.json, such as one from Hugging Face, passes.
    """
    folder = check_path("folder", folder)
    for name, expected in _read_checksums(folder).items():
        if _file_digest(folder / name) != expected:
            raise BadFileError(
                f"{str(folder / name)!r} is damaged or was changed after it was saved: its checksum differs "
                f"(if you changed it on purpose, delete {str(folder / CHECKSUMS)!r})"
            )


def _read_checksums(folder: Path) -> dict[str, str]:
    path = folder / CHECKSUMS
    sums = read_json(path, "list of checksums") if path.exists() else {}
    if not isinstance(sums, dict) or not all(
        isinstance(value, str) and stays_inside(name) for name, value in sums.items()
    ):
        raise BadFileError(
            f"list of checksums {str(path)!r} must map names of files beside it to sha256 sums"
        )
    return sums


def stays_inside(name: str) -> bool:
    """Whether a name with / leads to a file below the folder it is put into, on every system."""
    path = PurePosixPath(name)
    return (
        bool(path.parts)
        and not path.is_absolute()
        and ".." not in path.parts
        and not set(name) & {":", "\\", "\0"}
    )


def _file_digest(path: Path) -> str:
    return hashlib.sha256(read_bytes(path, "file")).hexdigest()


def _digest(arrays: Mapping[str, np.ndarray], header: str) -> str:
    digest = hashlib.sha256(header.encode("utf-8"))
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def save_arrays(path: str | Path, kind: str, arrays: Mapping[str, np.ndarray], meta: Any = None) -> Path:
    """Write named arrays and a JSON-able `meta` as one file of the given kind (for example "bm25 index")."""
    packed = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in arrays.items()}
    header = json.dumps({"kind": kind, "meta": meta}, ensure_ascii=False, sort_keys=True)
    _utf8(header, path)
    metadata = {"minillm": header, "sha256": _digest(packed, header)}
    return write_whole(path, _save_safetensors(packed, metadata=metadata))


def load_arrays(path: str | Path, kind: str) -> tuple[dict[str, np.ndarray], Any]:
    """(arrays, meta) of a file that `save_arrays` wrote; BadFileError if it is cut, damaged or of another kind."""
    return _sealed(path, kind, read_bytes(path, kind), _load_safetensors)


def map_arrays(path: str | Path, kind: str) -> tuple[dict[str, np.ndarray], Any]:
    """As `load_arrays`, but the arrays lie in the mapped file: processes that map the same file share its memory.

    The checksum still reads all of it once. Writing to the arrays does not change the file. On Windows a mapped file
    cannot be replaced.
    """
    return _sealed(path, kind, map_file(path, kind, mmap.ACCESS_COPY), _views)


def kind_of_file(path: str | Path) -> str | None:
    """The kind that a file says it is of; None for one that `save_arrays` did not write, or that is damaged."""
    try:
        with map_file(path) as data:
            return json.loads(_header(data)["__metadata__"]["minillm"])["kind"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _sealed(path: str | Path, kind: str, data: Any, open_arrays: Callable[[Any], Any]) -> tuple[Any, Any]:
    """(arrays, meta) from the bytes of a file, checked."""
    refusal = f"{kind} file {str(path)!r} is refused"
    try:
        arrays = open_arrays(data)
        metadata = _header(data).get("__metadata__") or {}
        header = metadata["minillm"]
        found = json.loads(header)
        found_kind, meta = found["kind"], found["meta"]
    except KeyError:
        raise BadFileError(f"{refusal}: it was not written by minillm") from None
    except (SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadFileError(f"{refusal}: cut short or damaged ({error})") from None
    if found_kind != kind:
        raise BadFileError(f"{refusal}: it holds a {found_kind}, expected a {kind}")
    if metadata.get("sha256") != _digest(arrays, header):
        raise BadFileError(f"{refusal}: its checksum does not match its content")
    return arrays, meta


def _header(data: Any) -> Any:
    """The JSON header of a safetensors file."""
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


_KINDS = {
    "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16, "U32": np.uint32, "I32": np.int32,
    "U64": np.uint64, "I64": np.int64, "F16": np.float16, "F32": np.float32, "F64": np.float64, "BOOL": np.bool_,
}  # fmt: skip


def _views(data: mmap.mmap) -> dict[str, np.ndarray]:
    """The arrays of a mapped safetensors file, where they lie."""
    start, arrays, size = 8 + int.from_bytes(data[:8], "little"), {}, 0
    for name, part in _header(data).items():
        if name == "__metadata__":
            continue
        (first, last), kind = part["data_offsets"], _KINDS.get(part["dtype"])
        if kind is None or not 0 <= first <= last <= len(data) - start:
            raise ValueError(f"array {name!r} is of an unknown kind, or outside the file")
        arrays[name] = np.frombuffer(memoryview(data)[start + first : start + last], kind).reshape(
            part["shape"]
        )
        size += last - first
    if start + size != len(data):
        raise ValueError("the arrays do not fill the file")
    return arrays
