"""An index on disk that keeps up with its files: only what is new or was changed is encoded, and Ctrl-C loses nothing.

    store/      what PassageIndex.save writes, and manifest.json: size and sha256 of every file, the encoder, its probe
    .vectors/   parts of a run that is not finished; the next run goes on with them, and takes them away at its end
    .new/       the next index until it is whole; then its files are moved into their places, which Ctrl-C waits for

The result is the index that would be built afresh from the same files, but for one thing: the method is graded anew
only when a tenth of the passages has come or gone since (grading encodes up to 480 texts that are no passages). An
encoder that is trained on the passages changes with them, so then everything is made anew, in seconds.

Book: 10.3 실습: 의미 검색 구현하기. Left out: two processes that write into one folder.
"""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minillm._checks import check_path, describe
from minillm._files import BadFileError, load_arrays, read_json, verify_checksums, write_json
from minillm.data import Passage
from minillm.data.documents import check_passages
from minillm.search.kept_vectors import KeptVectors
from minillm.search.passage_index import PassageIndex, indexed_texts
from minillm.search.self_grading import Choice

MANIFEST, PARTS, NEW = "manifest.json", ".vectors", ".new"
REGRADE = 0.1  # of the passages

Files = dict[str, list]  # name -> [bytes, sha256]
Bar = Callable[
    [str, int | None], Callable[[int], None]
]  # (what, how many) -> what is called with each number done


@dataclass(frozen=True)
class Update:
    """What an update did: the index; how many files are new, changed, gone and as they were; how many passages kept
    their vector, and how many got a new one (of an encoder trained here: all)."""

    index: PassageIndex
    added: int = 0
    changed: int = 0
    removed: int = 0
    same: int = 0
    kept: int = 0
    encoded: int = 0


def update_index(
    folder: str | Path,
    passages: Sequence[Passage],
    files: Files,
    encoder: Any = None,
    encoder_name: str = "",
    seed: int = 0,
    progress: Bar = lambda what, total: lambda count: None,
    **training: Any,
) -> Update:
    """Bring the index in `folder` up to date with `files`, of which `passages` were cut; it may be new.

    encoder: as in PassageIndex.build, None for one that is trained here (training: its options). A folder that is
    damaged is built anew. Raises ValueError as PassageIndex.build.
    """
    folder, passages = check_path("folder", folder), check_passages(passages, least=2)
    if (
        encoder is not None
        and getattr(encoder, "name", None) is None
        and not hasattr(encoder, "save_pretrained")
    ):
        raise ValueError(
            f"encoder must have save_pretrained(folder), which a store needs, got {describe(encoder)}"
        )
    shutil.rmtree(folder / NEW, ignore_errors=True)  # of a run that was killed
    settings = {"version": 1, "encoder": encoder_name, "seed": seed, "training": training}
    before = read_manifest(folder)
    counts = compare(before.get("files", {}), files)
    known_settings = {name: before.get(name) for name in settings} == settings
    texts = indexed_texts(passages)
    kept = None if encoder is None else KeptVectors(encoder, folder / PARTS)
    if (
        known_settings
        and before["files"] == files
        and (kept is None or kept.is_made_by_same(before.get("probe")))
    ):
        with suppress(BadFileError):  # damaged: it is made anew
            return Update(PassageIndex.load(folder, encoder), **counts, kept=len(passages))
    if kept is None:
        on_step = progress("index", training.get("steps"))
        index = PassageIndex.build(passages, seed, on_step=lambda *_: on_step(1), **training)
        write_store(folder, index, {**settings, "files": files})
        return Update(index, **counts, encoded=len(passages))

    old = old_texts(folder, kept, before)
    kept.take(*old)
    missing = kept.missing(texts)
    kept.on_texts = progress("index", missing)
    kept.encode_document(texts)
    gone, new = set(old[0]) - set(texts), set(texts) - set(old[0])
    since = before.get("since_grading", 0) + len(gone) + len(new)
    choice = old_choice(folder) if known_settings and old[0] and since <= REGRADE * len(texts) else None
    if choice is None:
        kept.on_texts, since = progress("grading", None), 0
    index = PassageIndex.build(passages, seed, kept, choice)
    write_store(
        folder, index, {**settings, "since_grading": since, "probe": kept.probe.tolist(), "files": files}
    )
    return Update(index, **counts, kept=len(passages) - missing, encoded=missing)


def compare(before: Files, now: Files) -> dict[str, int]:
    """How many files are new, changed, gone and as they were."""
    both = before.keys() & now.keys()
    same = sum(list(before[name]) == list(now[name]) for name in both)
    return {
        "added": len(now) - len(both), "changed": len(both) - same, "removed": len(before) - len(both), "same": same,
    }  # fmt: skip


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an index; {} where there is none that can be read: then everything counts as new."""
    try:
        found = read_json(folder / MANIFEST, "list of indexed files")
    except BadFileError:
        return {}
    files = found.get("files") if isinstance(found, dict) else None
    fit = isinstance(files, dict) and all(isinstance(one, list) for one in files.values())
    return found if fit and isinstance(found.get("since_grading", 0), int) else {}


def old_texts(folder: Path, kept: KeptVectors, manifest: dict[str, Any]) -> tuple[list[str], Any]:
    """The texts that are indexed in `folder` and their vectors (N, D), if this encoder made them; else none."""
    nothing: tuple[list[str], Any] = ([], [])
    if "probe" not in manifest or not kept.is_made_by_same(manifest["probe"]):
        return nothing
    try:
        verify_checksums(folder)
        texts = indexed_texts([Passage(**row) for row in read_json(folder / "passages.json")])
        vectors = load_arrays(folder / "dense" / "vectors.safetensors", "exact index")[0]["vectors"]
    except (TypeError, ValueError, KeyError):  # damaged: all of it is made anew
        return nothing
    return (texts, vectors) if vectors.shape == (len(texts), kept.dim) else nothing


def old_choice(folder: Path) -> Choice | None:
    """The choice of an index that was graded."""
    try:
        choice = Choice(**read_json(folder / "choice.json"))
    except (TypeError, ValueError):
        return None
    return choice if choice.queries else None


def write_store(folder: Path, index: PassageIndex, manifest: dict[str, Any]) -> None:
    """Write the index beside the one that is there, then put every part in its place, the manifest last."""
    new = folder / NEW
    index.save(new)
    with uninterrupted():
        (folder / MANIFEST).unlink(missing_ok=True)
        for part in sorted(new.iterdir()):
            place = folder / part.name
            if place.is_dir():
                shutil.rmtree(place)
            part.replace(place)
        new.rmdir()
        write_json(folder / MANIFEST, manifest)
        shutil.rmtree(folder / PARTS, ignore_errors=True)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until the block is done; it takes milliseconds."""
    if threading.current_thread() is not threading.main_thread():  # the others never get it
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)
    if came:
        raise KeyboardInterrupt
