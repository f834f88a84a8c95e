"""`--images` of `index` and `--picture` of `search`: a folder of pictures found by words and by pictures.

OUT/pictures.json says which CLIP made the vectors, with a probe; OUT/pictures.db is a vector store with a record a
file: its name in the folder is the id, its sha256 stands in the metadata, so that a second run reads what has changed.
"""

from __future__ import annotations

import hashlib
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minillm._files import BadFileError, read_json, write_json
from minillm.commands._show import print_json
from minillm.commands._store import read_filter

KEPT, STORE, SPACE = "pictures.json", "pictures.db", "pictures"
PART = 32  # pictures between two commits: what Ctrl-C loses at most
LONGEST = 512  # characters of a name


# --- index ----------------------------------------------------------------------------------------------------------


def index_pictures(options: Namespace) -> None:
    """A store of the vectors of all pictures in a folder, or the one that is there brought up to date."""
    from minillm.course.paths import check_out
    from minillm.data.picture_files import PICTURE_SUFFIXES, list_pictures

    for name in ("paths", "encoder", "store", "namespace", "data"):
        if getattr(options, name):
            raise ValueError(
                f"--images takes a folder of pictures alone, got {'--' * (name != 'paths')}{name}, too"
            )
    check_out(options.out)
    if (options.out / "passages.json").exists():
        raise ValueError(f"--out must be another folder: {options.out} holds an index of texts")
    check_model(options.model)
    refused: dict[str, str] = {}
    others: Counter[str] = Counter()

    def refuse(error: OSError) -> None:
        refused[str(error.filename)] = f"folder {error.filename!r} cannot be read: {error.strerror}"

    files = list_pictures(options.images, refuse, others, leave_out=options.out)
    if not files:
        raise BadFileError(f"{str(options.images)!r} holds no picture ({', '.join(PICTURE_SUFFIXES)})")

    from minillm.course.tour.settings import TourSettings
    from minillm.course.tour.stages import use_threads

    use_threads(TourSettings(seed=options.seed, threads=options.threads))
    search = open_search(options.model, options.out, options.images)
    with search.store:
        counts = update(search, files, refused, quiet=options.json or not sys.stderr.isatty())
        total = len(search)
    for why in refused.values():
        print(f"minillm: left out: {why}", file=sys.stderr)
    if not total:
        raise BadFileError(f"nothing in {str(options.images)!r} can be read: {next(iter(refused.values()))}")
    if options.json:
        left = {"refused": refused, "others": dict(sorted(others.items()))}
        print_json({"folder": str(options.out), "pictures": total, **counts, **left})
        return
    if options.model is None:
        print("by the course's own small CLIP, which knows coloured shapes alone: --model DIR takes another")
    names = {"added": "new", "changed": "changed", "removed": "gone", "same": "as before"}
    print(f"{options.out}: {total:,} picture{'s' * (total != 1)}")
    print("files: " + ", ".join(f"{counts[key]:,} {word}" for key, word in names.items() if counts[key]))


def update(search: Any, files: list[tuple[str, Path]], refused: dict[str, str], quiet: bool) -> Counter[str]:
    """Encode what is new or has changed, take away what is gone; how many of each."""
    from minillm.commands.search import Bars

    counts, bars = Counter(added=0, changed=0, removed=0, same=0), Bars(quiet)
    done, part = bars.start("pictures", len(files)), []
    listed = set(search.store.list(namespace=SPACE))

    def write() -> None:
        if part:
            search.add(*(list(column) for column in zip(*part)))
            part.clear()

    try:
        there: set[str] = set()
        for name, file in files:
            try:
                digest = _digest(name, file)
                kept = search.store.fetch([name], SPACE)["vectors"] if name in listed else {}
                if kept and kept[name]["metadata"].get("sha256") == digest:
                    counts["same"] += 1
                else:
                    picture = search.processor.opened(file)
                    above = Path(name).parent.as_posix()
                    part.append((picture, name, {"file": name, "folder": above, "sha256": digest}))
                    counts["changed" if kept else "added"] += 1
                there.add(name)
            except BadFileError as error:
                refused[name.encode("utf-8", "backslashreplace").decode()] = str(error)
            if len(part) == PART:
                write()
            done(1)
        write()
    finally:
        bars.close()
    gone = sorted(listed - there)
    if gone:
        search.store.delete(gone, namespace=SPACE)
    counts["removed"] = len(gone)
    return counts


def _digest(name: str, file: Path) -> str:
    """The sha256 of a file; BadFileError for a name that cannot be an id."""
    if len(name) > LONGEST or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise BadFileError(
            f"the name of picture {name[:60]!a} must be UTF-8 of at most {LONGEST} characters: rename it"
        )
    from minillm.data.picture_files import read_picture_bytes

    return hashlib.sha256(read_picture_bytes(file)).hexdigest()


# --- the model ------------------------------------------------------------------------------------------------------


def check_model(folder: Path | None) -> None:
    """ValueError for a folder that holds no model, before torch is imported."""
    if folder is not None and not (folder / "config.json").is_file():
        raise ValueError(f"--model must be a folder of a CLIP in transformers' format, got {str(folder)!r}")


def open_clip(folder: Path | None) -> tuple[Any, Any, Any]:
    """(model, tokenizer, processor) of a folder, or the course's own small CLIP."""
    if folder is None:
        from minillm.course import small_clip

        return (*small_clip()[:2], None)
    from minillm.models import CLIP, PictureProcessor
    from minillm.tokenizer import load_tokenizer

    return CLIP.from_pretrained(folder), load_tokenizer(folder), PictureProcessor.from_pretrained(folder)


def open_search(folder: Path | None, out: Path, root: Path | None = None) -> Any:
    """The pictures that lie in `out`. root: where they come from, for a folder that is new or written to.

    ValueError where another model made them.
    """
    from minillm.search import PictureSearch, VectorStore

    model, tokenizer, processor = open_clip(folder)
    probe = probe_of(model, tokenizer)
    if (out / KEPT).exists():
        check_same(read_kept(out), probe, out)
    if root is not None:
        named = None if folder is None else str(folder.resolve())
        write_json(out / KEPT, {"root": str(root.resolve()), "model": named, "probe": probe.tolist()})
    store = VectorStore(model.config.width, path=out / STORE, read_only=root is None)
    return PictureSearch(model, tokenizer, store, SPACE, processor)


def probe_of(model: Any, tokenizer: Any) -> Any:
    """(2 * D,): what the model makes of a fixed text and of a fixed picture, by which models are told apart."""
    import numpy as np

    from minillm.models import caption_vectors, picture_vectors
    from minillm.search.kept_vectors import PROBE

    size = model.config.vision_config.image_size
    slope = np.linspace(-1, 1, size, dtype=np.float32)
    picture = np.stack(
        [slope[None] * slope[:, None], -slope[None] + 0 * slope[:, None], slope[:, None] + 0 * slope]
    )
    return np.concatenate(
        [caption_vectors(model, tokenizer, [PROBE])[0], picture_vectors(model, picture[None])[0]]
    )


def read_kept(out: Path) -> dict[str, Any]:
    """What pictures.json says; BadFileError for one that is damaged."""
    kept = read_json(out / KEPT, "list of pictures")
    if not isinstance(kept, dict) or not {"root", "model", "probe"} <= kept.keys():
        raise BadFileError(f"list of pictures {str(out / KEPT)!r} must hold root, model and probe")
    if not isinstance(kept["root"], str) or not isinstance(kept["model"], str | None):
        raise BadFileError(f"list of pictures {str(out / KEPT)!r} must name root and model as texts")
    return kept


def check_same(kept: dict[str, Any], probe: Any, out: Path) -> None:
    """ValueError where the vectors in `out` are of another model."""
    import numpy as np

    from minillm.search.kept_vectors import SAME

    try:
        found = np.asarray(kept["probe"], np.float32)
    except (TypeError, ValueError):
        found = np.zeros(0, np.float32)
    if found.shape != probe.shape or not np.abs(found - probe).max() <= SAME:
        raise ValueError(
            f"the pictures in {out} were indexed with another model: index them into another folder"
        )


# --- search ---------------------------------------------------------------------------------------------------------


def holds_pictures(folder: Path | None) -> bool:
    """Whether `index --images` made this folder."""
    return folder is not None and (folder / KEPT).is_file()


def search_pictures(options: Namespace, folder: Path | None) -> None:
    """The pictures nearest to a text, or with --picture to a picture."""
    if options.picture is not None:  # then the word that stands for the text names the folder
        given = [one for one in (options.named, options.index, options.query) if one is not None]
        if len(given) > 1:
            raise ValueError(
                f"search by a text or by --picture, got {options.query!r} and {str(options.picture)!r}"
            )
        folder = Path(options.query)
    for name in ("store", "namespace"):
        if getattr(options, name):
            raise ValueError(f"--{name} is for an index of texts, {folder} holds pictures")
    if options.method != "auto":
        raise ValueError(f"--mode is for an index of texts, {folder} holds pictures")
    if not holds_pictures(folder):
        raise ValueError(f"no pictures at {folder}: `minillm index --images FOLDER --out {folder}` makes it")
    if options.picture is None and not options.query.strip():
        raise ValueError("the text to look for must hold words, got an empty one")
    wanted, kept = read_filter(options.filter), read_kept(folder)
    again = f"{folder} holds no pictures yet: run `minillm index --images FOLDER --out {folder}` again"
    if not (folder / STORE).exists():
        raise ValueError(again)
    model = None if kept["model"] is None else Path(kept["model"])
    if model is not None and not model.is_dir():
        raise ValueError(f"the model that {folder} was made with is no longer at {str(model)!r}")
    search = open_search(model, folder)
    with search.store:
        if not len(search):
            raise ValueError(again)
        if options.picture is not None:
            found = search.by_picture(options.picture, options.k, wanted)
        else:
            found = search.by_text(_asked(options.query, own=model is None), options.k, wanted)
    rows = list(_rows(found, Path(kept["root"])))
    if options.json:
        print_json(rows)
        return
    for row in rows:
        print(f"{row['rank']:>2}  {row['score']:<8g} {row['file']}")
    if not rows:
        print("no picture passes the filter")


def _asked(text: str, own: bool) -> str:
    """The text as the course's own CLIP was taught to read one; another model gets it as it is."""
    if not own:
        return text
    from minillm.course.small.clip import as_caption

    return as_caption(text)


def _rows(found: list[dict[str, Any]], root: Path) -> Iterator[dict[str, Any]]:
    for rank, match in enumerate(found, 1):
        name = match["id"]
        path = root / name if root.is_dir() else root  # a single file was indexed
        yield {"rank": rank, "score": round(match["score"], 4), "file": name, "path": str(path)}
