"""Real text that every Python carries: its language reference and the docstrings of its standard library.

`pydoc_data.topics` is what `help("with")` prints: 79 sections of the language reference as plain text, about
465 kB in CPython 3.11. It is the small real corpus of this course: no download, a free licence (PSF, as Python
itself), known to every reader. Topics repeat each other (the whole "with" section
stands again inside "compound"), which is why `train_and_held_out` removes repeats before it splits.

Book: 2.2 텍스트를 임베딩으로 변환하기, 10.4 검색 방식을 조합해 성능 높이기 (corpus of the tour).
Left out: Pythons other than CPython, which may not ship these texts.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from minillm.data.documents import Document
from minillm.data.passages import split_sections
from minillm.data.python_modules import docstring_sections, parse_module


def python_docs() -> list[Document]:
    """The Python language reference, one Document a topic, ordered by topic id ("with" comes before "yield").

    The text is the running Python's own, so it differs a little between versions. Raises ValueError on a
    Python that does not ship `pydoc_data.topics`.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise ValueError(
            "this Python has no pydoc_data.topics, the text of its language reference (CPython 3.10 to 3.14 "
            "ships it; some minimal Linux packages leave it out: install the full standard library)"
        ) from None
    documents = []
    for name in sorted(topics):
        sections = split_sections(topics[name])
        title = next((section.title for section in sections if section.title), name)
        documents.append(Document(id=name, title=title, text=topics[name]))
    return documents


@lru_cache(maxsize=1)
def _standard_library_docs() -> tuple[Document, ...]:
    root = Path(sysconfig.get_paths()["stdlib"])
    documents = []
    for path in _module_files(root):
        try:
            tree = parse_module(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        text = "\n\n\n".join(docstring_sections(tree, module))
        if text:
            documents.append(Document(id=module, title=f"module {module}", text=text + "\n"))
    if not documents:
        raise ValueError(f"no Python source with docstrings found in the standard library at {str(root)!r}")
    return tuple(sorted(documents, key=lambda document: document.id))


def standard_library_docs() -> list[Document]:
    """The docstrings of the standard library, one Document a module, in alphabetical order: about 2 MB.

    Read from the source files by `ast`; no module is imported, so nothing of it runs. Tests, installed
    packages and private build files are left out. Each name is an underlined heading over its docstring, so
    `split_passages` gives passages titled "pathlib.Path.glob". Takes about four seconds the first time.
    Raises ValueError when the standard library has no source files.
    """
    return list(_standard_library_docs())


_NOT_LIBRARY = {
    "test",
    "tests",
    "idle_test",
    "site-packages",
    "dist-packages",
    "__pycache__",
    "lib2to3",
    "turtledemo",
}


def _module_files(root: Path) -> Iterator[Path]:
    for path in root.rglob("*.py"):
        folders = path.relative_to(root).parts[:-1]
        if any(part in _NOT_LIBRARY or part.startswith(("config-", "lib-dynload")) for part in folders):
            continue
        # the topics are documents of their own; _sysconfigdata is a dump of one machine's build
        if path.name != "topics.py" and not path.name.startswith("_sysconfigdata"):
            yield path
