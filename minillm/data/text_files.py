"""The user's own text files as documents: what `minillm tour --data PATH` reads.

One UTF-8 file (.txt, .md, .rst, .py) is one Document; of a Python module the docstrings and the code are read. What
cannot be read as text is refused by name, with what to do about it: a corpus that silently lost half of its files
teaches a model, and its user, the wrong thing.
"""

from __future__ import annotations

import os
from pathlib import Path

from minillm._checks import check_int, describe
from minillm._files import BadFileError, read_bytes
from minillm.data.documents import Document
from minillm.data.passages import split_sections
from minillm.data.python_modules import module_text

TEXT_SUFFIXES = (".txt", ".md", ".markdown", ".rst", ".py")
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_documents(path: str | Path, max_bytes: int = 20_000_000) -> list[Document]:
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
    if not isinstance(path, (str, Path)) or not str(path):
        raise ValueError(f"path must be a file or a folder, got {describe(path)}")
    root = Path(path)
    if not root.exists():
        raise BadFileError(f"no file or folder at {str(path)!r}")
    if root.is_dir():
        found = [(file.relative_to(root).as_posix(), file) for file in _text_files(root)]
        if not found:
            raise BadFileError(f"folder {str(path)!r} holds no text file ({', '.join(TEXT_SUFFIXES)})")
    else:
        found = [(root.name, root)]
    documents = []
    for name, file in sorted(found):
        text = _read_text(file, max_bytes)
        _check_name(name)
        if file.suffix.lower() == ".py":
            text = module_text(text, ".".join(Path(name).with_suffix("").parts).removesuffix(".__init__"))
        if text.strip():
            headings = (section.title for section in split_sections(text) if section.title)
            documents.append(Document(id=name, title=next(headings, file.stem), text=text))
    if not documents:
        raise BadFileError(f"{str(path)!r} holds no text: every file is empty")
    return documents


def _text_files(root: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise BadFileError(f"folder {error.filename!r} cannot be read: {error.strerror}")

    found = []
    for folder, subfolders, names in os.walk(root, onerror=refuse):
        if "pyvenv.cfg" in names and Path(folder) != root:  # a virtual environment: other people's code
            subfolders[:] = []
            continue
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        files = (Path(folder, name) for name in names if not name.startswith("."))
        found += [file for file in files if file.suffix.lower() in TEXT_SUFFIXES and file.is_file()]
    return found


def _check_name(name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise BadFileError(f"the name of file {name!a} is not UTF-8: rename it") from None


def _read_text(file: Path, max_bytes: int) -> str:
    if not file.is_file():
        raise BadFileError(f"{str(file)!r} is not a regular file")
    if file.stat().st_size > max_bytes:
        raise BadFileError(
            f"{str(file)!r} has {file.stat().st_size:,} bytes, a file may have {max_bytes:,} (max_bytes): "
            "cut it into smaller files"
        )
    data = read_bytes(file, "text file")
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
