"""Compiled code that calls compiled code of another file: does what numba keeps on disk still fit?

numba keeps a function's machine code, with all that it calls, and throws it away when the file of that function
changes. A change in another file goes unseen. So a file that calls compiled code of others has a line

    CALLED = "1f2e3d4c"

with the checksum of those files, and a change in one of them must change this line too:

    python -m tests.compiled_files [--write]          which checksums are wrong; put right
"""

from __future__ import annotations

import ast
import re
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINE = re.compile(rb'^CALLED = "([0-9a-f]*)"', re.MULTILINE)
COMPILERS = {"njit", "intrinsic", "overload"}


def is_compiled(text: bytes) -> bool:
    """Whether a file has code for numba."""
    return re.search(rb"^(import|from) numba", text, re.MULTILINE) is not None


def reaches_compiled_code(name: str, text: bytes) -> bool:
    """Whether what a file calls `name` can become part of compiled code: functions for numba, types, constants."""
    for part in ast.parse(text).body:
        if isinstance(part, ast.FunctionDef) and part.name == name:
            return any(
                COMPILERS & {n.id for n in ast.walk(by) if isinstance(n, ast.Name)}
                for by in part.decorator_list
            )
        if isinstance(part, ast.ClassDef) and part.name == name:
            return any(isinstance(base, ast.Name) and base.id == "NamedTuple" for base in part.bases)
    return is_compiled(text)


def called(path: Path, root: Path = ROOT) -> set[Path]:
    """The files whose code becomes part of what numba compiles of this one, over several files too."""
    found = set()
    for part in ast.parse(path.read_bytes()).body:
        if isinstance(part, ast.ImportFrom) and part.module:
            other = root / (part.module.replace(".", "/") + ".py")
            if other.exists():
                text = other.read_bytes()
                if any(reaches_compiled_code(alias.name, text) for alias in part.names):
                    found |= {other} | called(other, root)
    return found


def checksum(paths: set[Path]) -> str:
    """Of the files' text, whatever the line ends are and what they say of each other."""
    texts = (LINE.sub(b"", path.read_bytes().replace(b"\r", b"")) for path in sorted(paths))
    return f"{zlib.crc32(b''.join(texts)):08x}"


def wrong(root: Path = ROOT) -> dict[Path, str]:
    """Compiled files whose line is missing or wrong, with the right checksum."""
    found = {}
    for path in sorted((root / "minillm").rglob("*.py")):
        text = path.read_bytes()
        others = called(path, root) if is_compiled(text) and b"njit" in text else set()
        if others:
            line, right = LINE.search(text), checksum(others)
            if line is None or line[1].decode() != right:
                found[path] = right
    return found


def main() -> int:
    found = wrong()
    for path, right in found.items():
        print(f'{path.relative_to(ROOT)}: CALLED = "{right}"')
        if "--write" in sys.argv:
            if LINE.search(path.read_bytes()) is None:
                print("  has no such line yet")
                return 1
            path.write_bytes(LINE.sub(f'CALLED = "{right}"'.encode(), path.read_bytes()))
    return 0 if "--write" in sys.argv else bool(found)


if __name__ == "__main__":
    raise SystemExit(main())
