"""The user's own text files as documents: what `minillm tour --data PATH` and `minillm index PATH ...` read.

One UTF-8 file (.txt, .md, .rst, .py) is one Document; of a Python module the docstrings and the code are read, of a
notebook (.ipynb) its cells, a .jsonl file holds a Document a line, a .csv file one a row, a PDF one a page. What
cannot be read as text is refused by name, with what to do about it: a corpus that silently lost half of its files
teaches a model, and its user, the wrong thing.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minillm._checks import check_int, describe
from minillm._files import BadFileError, read_bytes
from minillm.data.documents import Document
from minillm.data.json_texts import jsonl_documents, notebook_text
from minillm.data.passages import split_sections
from minillm.data.pdf_texts import pdf_documents
from minillm.data.python_modules import module_text
from minillm.data.table_texts import csv_documents

TEXT_SUFFIXES = (".txt", ".md", ".markdown", ".rst", ".py")
INDEX_SUFFIXES = (*TEXT_SUFFIXES, ".ipynb", ".jsonl", ".csv", ".pdf")
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
MAX_BYTES = 20_000_000


@dataclass(frozen=True)
class TextFile:
    """A file that was read: its name in an index, its size in bytes, the sha256 of its bytes, and its documents (none
    for an empty file)."""

    name: str
    size: int
    sha256: str
    documents: tuple[Document, ...]


@dataclass
class Reading:
    """What `read_files` found. refused: name -> why it could not be read; others: how many files of each other suffix
    were passed over, "" for none."""

    files: list[TextFile] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)

    @property
    def documents(self) -> list[Document]:
        """All documents, in the order of their files."""
        return [document for file in self.files for document in file.documents]


def read_documents(path: str | Path, max_bytes: int = MAX_BYTES) -> list[Document]:
    """The text file `path`, or every text file in the folder `path` and below it, as Documents.

    In a folder: files ending in .txt, .md, .markdown, .rst or .py, in alphabetical order of their relative paths,
    which become the ids ("notes/day1.md"); hidden files and folders (".git"), virtual environments and empty files
    are skipped, links to folders are not followed. A single file may have any suffix. The title is the first
    heading, or the file's name. Line ends become "\\n" and a byte order mark is dropped. A .py file becomes the text
    of `module_text`: headings, docstrings and code.

    Raises BadFileError (a ValueError) naming the file or folder for one that is missing, closed to us, larger than
    `max_bytes`, binary, or not UTF-8 (its name, too), and when there is no text at all.
    """
    max_bytes = check_int("max_bytes", max_bytes, 1)
    found = list(list_files(path, TEXT_SUFFIXES, _refuse_folder))
    if not found:
        raise BadFileError(f"folder {str(path)!r} holds no text file ({', '.join(TEXT_SUFFIXES)})")
    documents = [
        one for name, file in sorted(found) for one in read_text_file(name, file, max_bytes).documents
    ]
    if not documents:
        raise BadFileError(f"{str(path)!r} holds no text: every file is empty")
    return documents


def read_files(
    paths: Sequence[str | Path], leave_out: Path | None = None, max_bytes: int = MAX_BYTES
) -> Reading:
    """Every text file of several files and folders; what cannot be read is named in `refused`, and the rest is read.

    In a folder as `read_documents`, and .ipynb, .jsonl, .csv and .pdf files, too. A file's name is its path in its
    folder; of several paths, the folder's own name stands in front ("notes/day1.md"). A file that several paths lead
    to is read once. leave_out: a folder that is not looked into, the index itself.

    Raises BadFileError for a path that is missing, and when nothing could be read, with the reason; ValueError for
    two files that would have one name.
    """
    max_bytes = check_int("max_bytes", max_bytes, 1)
    reading = Reading()
    named: dict[str, Path] = {}
    once: dict[Path, str] = {}  # a file, links followed -> its first name
    for path in paths:
        for name, file in sorted(list_files(path, INDEX_SUFFIXES, _note(reading), reading.others, leave_out)):
            if len(paths) > 1 and Path(path).is_dir():
                name = f"{Path(path).resolve().name}/{name}"
            if once.setdefault(file.resolve(), name) != name:
                continue
            if named.setdefault(name, file).resolve() != file.resolve():
                raise ValueError(
                    f"two files would be called {name!r}: {str(named[name])!r} and {str(file)!r}. Name the folder "
                    "that holds both"
                )
    for name, file in sorted(named.items()):
        try:
            reading.files.append(read_text_file(name, file, max_bytes))
        except BadFileError as error:
            reading.refused[name.encode("utf-8", "backslashreplace").decode()] = str(error)
    if not reading.documents:
        where = ", ".join(repr(str(path)) for path in paths)
        if len(reading.refused) == 1:
            raise BadFileError(next(iter(reading.refused.values())))
        if reading.refused:
            first = next(iter(reading.refused.values()))
            raise BadFileError(
                f"nothing in {where} can be read: {len(reading.refused)} files, the first: {first}"
            )
        if reading.files:
            raise BadFileError(f"{where} holds no text: every file is empty")
        raise BadFileError(f"folder {where} holds no text file ({', '.join(INDEX_SUFFIXES)})")
    return reading


def read_text_file(name: str, file: Path, max_bytes: int = MAX_BYTES) -> TextFile:
    """One file, called `name`. BadFileError naming it for one that is no text of its kind."""
    data = _read_data(file, max_bytes)
    _check_name(name)
    suffix, documents = file.suffix.lower(), []
    text = _decoded(file, data) if suffix != ".pdf" else ""
    try:
        if suffix == ".pdf" and data:
            documents = pdf_documents(data, name, file.stem)
        elif suffix == ".csv" and text.strip():
            documents = csv_documents(file, name)
        elif suffix == ".jsonl":
            documents = jsonl_documents(text, name)
        elif suffix == ".ipynb":
            text = notebook_text(text) if text.strip() else ""
    except ValueError as error:
        raise BadFileError(f"{str(file)!r} is refused: {error}") from None
    if suffix == ".py":
        text = module_text(text, ".".join(Path(name).with_suffix("").parts).removesuffix(".__init__"))
    if suffix not in (".jsonl", ".csv") and text.strip():
        headings = (section.title for section in split_sections(text) if section.title)
        documents = [Document(id=name, title=next(headings, file.stem), text=text)]
    return TextFile(name, len(data), hashlib.sha256(data).hexdigest(), tuple(documents))


def list_files(
    path: str | Path,
    suffixes: Sequence[str],
    refuse: Callable[[OSError], None],
    others: Counter[str] | None = None,
    leave_out: Path | None = None,
) -> Iterator[tuple[str, Path]]:
    """(name, file) of a file, or of every text file in a folder."""
    if not isinstance(path, (str, Path)) or not str(path):
        raise ValueError(f"path must be a file or a folder, got {describe(path)}")
    root = Path(path)
    if not root.exists():
        raise BadFileError(f"no file or folder at {str(path)!r}")
    if not root.is_dir():
        yield root.name, root
        return
    closed = None if leave_out is None else leave_out.resolve()
    for folder, subfolders, names in os.walk(root, onerror=refuse):
        if "pyvenv.cfg" in names and Path(folder) != root:  # a virtual environment: other people's code
            subfolders[:] = []
            continue
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        if closed is not None:
            subfolders[:] = [name for name in subfolders if Path(folder, name).resolve() != closed]
        for file in (Path(folder, name) for name in names if not name.startswith(".")):
            if file.suffix.lower() not in suffixes:
                if others is not None:
                    others[file.suffix.lower()] += 1
            elif file.is_file():
                yield file.relative_to(root).as_posix(), file


def _refuse_folder(error: OSError) -> None:
    raise BadFileError(f"folder {error.filename!r} cannot be read: {error.strerror}")


def _note(reading: Reading) -> Callable[[OSError], None]:
    """What `list_files` does with a folder that is closed to us: it is named, and the others are read."""

    def note(error: OSError) -> None:
        reading.refused[str(error.filename)] = f"folder {error.filename!r} cannot be read: {error.strerror}"

    return note


def _check_name(name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise BadFileError(f"the name of file {name!a} is not UTF-8: rename it") from None


def _read_data(file: Path, max_bytes: int) -> bytes:
    if not file.is_file():
        raise BadFileError(f"{str(file)!r} is not a regular file")
    if file.stat().st_size > max_bytes:
        raise BadFileError(
            f"{str(file)!r} has {file.stat().st_size:,} bytes, a file may have {max_bytes:,} (max_bytes): "
            "cut it into smaller files"
        )
    return read_bytes(file, "text file")


def _decoded(file: Path, data: bytes) -> str:
    if data.startswith(UTF16_MARKS):
        raise BadFileError(f"{str(file)!r} is UTF-16 text, expected UTF-8: save it as UTF-8")
    if b"\0" in data:
        raise BadFileError(f"{str(file)!r} is a binary file (it holds a zero byte), expected UTF-8 text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFileError(
            f"{str(file)!r} is not UTF-8 text: byte {data[error.start]:#04x} at position {error.start}. "
            "Save it as UTF-8 (older Korean files are often CP949: Notepad saves them with encoding UTF-8; elsewhere "
            "`iconv -f cp949 -t utf-8 old.txt > new.txt`)"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
