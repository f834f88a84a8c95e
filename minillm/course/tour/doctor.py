"""What this machine has, and what to do about what is missing: the data behind `minillm doctor`.

`report()` looks, and changes nothing: it imports no optional library (only their installed versions are read), opens
no connection and writes no file. `model_row(path)` reads one model through.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path

import torch

import minillm
from minillm.course.page.style import hangul_font
from minillm.course.paths import find_checkout, tour_folder
from minillm.course.tour.settings import available_cores
from minillm.data import REAL_MODELS, available, cache_folder, fetch
from minillm.data.real_models import how_to_fetch, model_folders


def report() -> list[dict[str, str]]:
    """Rows of what, found and advice ("" when nothing needs doing), in the order a reader would ask."""
    return [*_versions(), *_devices(), *_data(), *_models(), _font(), *_extras()]


def model_row(path: Path) -> dict[str, str]:
    """Whether a model's folder or file is whole: all of it is read, also weights whose checksum is remembered.

    Raises BadFileError, naming the file, for one that is missing, cut or damaged.
    """
    from minillm.data.gguf import CHECKSUM, read_gguf
    from minillm.models import load_model
    from minillm.models.weights import has_checksum, read_config, verify_weights

    if path.is_dir():
        read_config(path)
        verify_weights(path)
        summed = all(map(has_checksum, path.glob("*.safetensors")))
    elif path.suffix == ".gguf":
        summed = CHECKSUM in read_gguf(path).metadata
    else:
        load_model(path)
        summed = False
    for name, model in REAL_MODELS.items():  # their checksums are known
        if any(path in (folder, *(folder / file for file in model.files)) for folder in model_folders(name)):
            fetch(name)
            summed = True
    sure = "whole: every byte is as it was saved"
    unsure = "nothing is missing or cut; it carries no checksum that would tell a changed byte"
    return _row(f"model {path}", sure if summed else unsure)


def _row(what: str, found: object, advice: str = "") -> dict[str, str]:
    return {"what": what, "found": str(found), "advice": advice}


def _versions() -> list[dict[str, str]]:
    root = find_checkout()
    python = platform.python_version()
    rows = [
        _row(
            "minillm",
            f"{minillm.__version__}, {'from a checkout' if root else 'installed without a checkout'}",
        ),
        _row("python", f"{python} on {platform.system()} {platform.machine()}"),
    ]
    if root is None:
        rows[0]["advice"] = "lessons and tests need the repository: clone it, then `make study`"
    for requirement in importlib.metadata.requires("minillm") or []:
        if "extra ==" not in requirement:
            rows.append(_installed(requirement))
    return rows


def _name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _installed(requirement: str) -> dict[str, str]:
    name = _name(requirement)
    version = _version(name)
    return _row(name, version or "missing", "" if version else f"pip install '{requirement}'")


def _devices() -> list[dict[str, str]]:
    rows = [_row("processor", f"{available_cores()} cores, torch uses {torch.get_num_threads()} threads")]
    units = _bf16_units()
    rows.append(
        _row(
            "bfloat16",
            {True: "in hardware", False: "emulated", None: "not known here"}[units],
            "" if units else "train in float32 on this processor, or measure both with `minillm bench`",
        )
    )
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            rows.append(_row(f"gpu {index}", f"{card.name}, {card.total_memory / 2**30:.0f} GiB"))
    else:
        apple = torch.backends.mps.is_available()
        rows.append(_row("gpu", "Apple MPS" if apple else "none: every lesson runs on the processor"))
    return rows


def _bf16_units() -> bool | None:
    """Whether the processor multiplies bfloat16 in hardware (AVX512-BF16, AMX or Arm's BF16); None when unknown."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return None
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", "bf16"))


def _data() -> list[dict[str, str]]:
    named = os.environ.get("MINILLM_DATA")
    if not named:
        rows = [_row("MINILLM_DATA", "not set", "only for lessons and tests on real corpora: see README.md")]
    elif Path(named).is_dir():
        rows = [_row("MINILLM_DATA", named)]
    else:
        rows = [_row("MINILLM_DATA", f"{named} is not a folder", "set it to the folder of real corpora")]
    rows.append(_row("cache", cache_folder()))  # MINILLM_CACHE names another
    made = tour_folder()
    there = made.is_dir()
    rows.append(
        _row("tour", made if there else "not run yet", "" if there else "run `minillm tour` (3 minutes)")
    )
    return rows


def _models() -> list[dict[str, str]]:
    uses = {
        "smollm2": 'for `minillm generate smollm2 "..."`, the last answer of the tour, and lessons',
        "e5": "for search by meaning in Korean and English, and lessons",
        "minilm": "for search by meaning in English, and tests",
    }
    rows = []
    for name, model in REAL_MODELS.items():
        there = available(name)
        advice = "" if there else f"{how_to_fetch(name)} {uses[name]}"
        rows.append(_row(f"model {name}", f"{'here' if there else 'not fetched'}: {model.about}", advice))
    return rows


def _font() -> dict[str, str]:
    name = hangul_font()
    return _row(
        "Hangul font", name or "none", "" if name else "Korean in figures: pip install koreanize-matplotlib"
    )


def _extras() -> list[dict[str, str]]:
    """One row an optional group of pyproject.toml: complete, or which of its packages are missing."""
    groups: dict[str, list[str]] = {}
    for requirement in importlib.metadata.requires("minillm") or []:
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if extra and _name(requirement) != "minillm" and _wanted_here(requirement):
            groups.setdefault(extra[1], []).append(_name(requirement))
    rows = []
    for extra, names in groups.items():
        missing = [name for name in names if _version(name) is None]
        advice = f"pip install -e '.[{extra}]' when you need it" if missing else ""
        rows.append(
            _row(f"extra {extra}", f"missing {', '.join(missing)}" if missing else "complete", advice)
        )
    return rows


def _wanted_here(requirement: str) -> bool:
    """Whether a requirement's markers hold on this system: the two kinds pyproject.toml uses."""
    if re.search(r"platform_system == ['\"]Linux['\"]", requirement) and platform.system() != "Linux":
        return False
    return not (re.search(r"python_version < ['\"]3\.11['\"]", requirement) and sys.version_info >= (3, 11))
