"""Which model a command is about: a path, the name of a real model, or a name on the hub."""

from __future__ import annotations

import contextlib
from pathlib import Path

from minillm.commands._adapters import is_adapter


def new_folder(out: Path) -> Path:
    """`out`, if it can be written and holds nothing yet; ValueError, before the work begins, if not."""
    from minillm.course.paths import check_out

    check_out(out)
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"--out must be a new or an empty folder, {out} holds something")
    return out


def find_model(given: Path | None) -> Path:
    """The model's folder or file. None: the tour's; a path that exists wins over a name.

    A name on the hub is downloaded, its tokenizer with it. ValueError, ImportError or DownloadError in one line where
    there is no such model; nothing heavy is imported.
    """
    from minillm.course.paths import find_part
    from minillm.data.hub import find, is_name
    from minillm.data.real_models import REAL_MODELS

    if given is not None and is_adapter(given):
        return given
    if given is None or given.exists():
        return find_part(given, "model")
    name = given.as_posix()
    if name in REAL_MODELS:
        return find(name, "model")
    if is_name(name):
        folder = find(name, "model")
        with contextlib.suppress(ValueError):  # it holds none: `generate` says so, `convert` does without
            find(name, "tokenizer")
        return folder
    if len(given.parts) == 1 and not given.suffix:
        raise ValueError(
            f"no model at {name}: no such file or folder, nor a real model ({', '.join(REAL_MODELS)}) or owner/name of "
            "the hub"
        )
    return find_part(given, "model")
