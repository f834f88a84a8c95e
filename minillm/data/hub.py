"""Models, tokenizers and data sets of the hub by "owner/name", through huggingface_hub (the extra `hub`).

    find("owner/name", "model")  ->  the folder of the hub's cache that now holds config.json and model.safetensors
    push("owner/name", model.save_pretrained, token="hf_...")

Only the files that are opened are downloaded, and none that holds a pickle: opening one can run any program. They go to
the cache that all of Hugging Face's libraries share, and without a network they are taken from there. A path that
exists wins over a name. Nothing waits for ever: a request that gets no answer, and a file that does not grow, are
given up.

Book 3.2 허깅페이스 허브 탐색하기. Held against transformers' from_pretrained and push_to_hub on a local server.
Leaves out: Spaces, GGUF files of a repository (download one, then open its path), code that comes with a model.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from minillm._checks import check_choice, check_flag, check_text, describe
from minillm._files import BadFileError, read_bytes, stays_inside
from minillm.data.downloads import DownloadError
from minillm.data.hub_library import bounded, library, mended, size_of, unreachable, watched
from minillm.data.real_models import REAL_MODELS, fetched

TIMEOUT = 10.0  # seconds that one request may go without an answer
PATIENCE = 300.0  # seconds without a new part of a file (the library writes 10 MB at a time)
SLOWEST = 50_000  # bytes a second, on average, that an upload must reach

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
FILE_ENDINGS = (".gguf", ".bin", ".json", ".model", ".gz", ".txt", ".safetensors")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
TOKENIZER_FILES = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "vocab.json", "merges.txt", "vocab.txt",
}  # fmt: skip
SENTENCEPIECE = {
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
}  # opened where tokenizer.json is not
WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
MODEL_FILES = {"config.json", "generation_config.json", "model.safetensors.index.json"}


def is_name(text: Any) -> bool:
    """Whether `text` can be a name on the hub, "owner/name", and is no path that exists."""
    return (
        isinstance(text, str)
        and NAME.fullmatch(text) is not None
        and not text.endswith(FILE_ENDINGS)
        and not Path(text).exists()
    )


def find(
    path: str | Path,
    kind: str,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Path:
    """Where a model or a tokenizer (`kind`) is on this machine: a path as it is, else what a name stands for.

    path: a file or folder; "smollm2", "e5" or "minilm", a real model that was fetched; or "owner/name", for which the
    hub is asked. revision: a branch, a tag or a commit (None: main). token: a text, None for the one that is logged in,
    False for none. local_files_only: take it from the cache and ask nobody.

    Raises ValueError for a real model that is not here, ImportError without the extra, DownloadError (an OSError) when
    the hub cannot give it, BadFileError for a repository without weights that can be opened safely. Each says what to
    do.
    """
    check_choice("kind", kind, ("model", "tokenizer"))
    if not isinstance(path, str) or Path(path).exists():
        return Path(path)
    if path in REAL_MODELS:
        return fetched(path)
    if not is_name(path):
        return Path(path)
    chosen = model_files if kind == "model" else tokenizer_files
    return download(path, "model", lambda files: chosen(path, files), revision, token, local_files_only)


def model_files(name: str, files: Sequence[str]) -> list[str]:
    """Of a repository's files those that open its model; BadFileError where none holds weights without a pickle."""
    weights = [file for file in files if WEIGHTS.fullmatch(file)]
    if "model.safetensors" in weights:  # one file: shards and their index beside it say the same again
        return sorted({"config.json", "generation_config.json", "model.safetensors"} & set(files))
    if weights:
        return sorted([file for file in files if file in MODEL_FILES] + weights)
    if pickled := [file for file in files if file.endswith(PICKLES)]:
        raise BadFileError(
            f"{name} holds its weights as {pickled[0]} and not as model.safetensors: a pickle, which can run any "
            "program when it is opened, so it is not. Choose a revision or another copy with safetensors"
        )
    quantized = [file for file in files if file.endswith(".gguf")]
    instead = f"download {quantized[0]} and open its path" if quantized else "choose another repository"
    raise BadFileError(f"{name} holds no model.safetensors: {instead}")


def tokenizer_files(name: str, files: Sequence[str]) -> list[str]:
    """Of a repository's files those that open its tokenizer; BadFileError where there are none."""
    chosen = [file for file in files if file in TOKENIZER_FILES]
    if "tokenizer.json" in chosen:
        return [file for file in chosen if file not in {"vocab.json", "merges.txt", "vocab.txt"}]
    if not {"vocab.json", "merges.txt"} <= set(chosen) and "vocab.txt" not in chosen:
        only = [file for file in files if file in SENTENCEPIECE]
        instead = f": download {only[0]} and open its path" if only else ""
        raise BadFileError(
            f"{name} holds no tokenizer.json, vocab.txt, or vocab.json with merges.txt{instead}"
        )
    return chosen


def download(
    name: str,
    repo_type: str,
    choose: Callable[[list[str]], list[str]],
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Path:
    """The folder of the cache with the files that `choose` takes from the list of a repository's; as in `find`.

    repo_type: "model" or "dataset". What is in the cache is not downloaded again. Without a network the files that are
    there are what `choose` gets.
    """
    check_text("name", name), check_flag("local_files_only", local_files_only)
    if revision is not None:
        check_text("revision", revision)
    hub = library(f"{name!r} is no path here, and as a name on the hub")
    asked = {"repo_type": repo_type, "revision": revision, "token": token}
    error = info = None
    if not local_files_only:
        try:
            info = watched(lambda: hub.HfApi().repo_info(name, timeout=TIMEOUT, **asked), PATIENCE)
        except (hub.errors.HTTPError, OSError, ValueError, RuntimeError) as raised:
            error = raised
    if info is not None:
        files = choose([one.rfilename for one in info.siblings or [] if stays_inside(one.rfilename)])
        try:
            return _fetch(hub, name, files, info.sha, asked)
        except (hub.errors.HTTPError, OSError, ValueError, RuntimeError) as raised:
            error = raised
    if error is not None and not unreachable(hub, error):
        raise mended(hub, name, repo_type, revision, error) from None
    try:  # a folder that is there, whole or not: no connection is opened
        folder = Path(hub.snapshot_download(name, local_files_only=True, **asked))
        choose([path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()])
    except (OSError, ValueError) as raised:
        if isinstance(raised, hub.errors.HFValidationError) or error is not None:
            raise mended(hub, name, repo_type, revision, error or raised) from None
        where = f"not in the hub's cache ({hub.constants.HF_HUB_CACHE})"
        raise DownloadError(
            f"{name!r} is no path here and {where}: load it once without local_files_only"
        ) from None
    return folder


def _fetch(hub: Any, name: str, files: Sequence[str], commit: str, asked: dict[str, Any]) -> Path:
    """Download those of the files that are not in the cache yet; the snapshot's folder."""
    if not files:
        raise BadFileError(f"{name} holds none of the files that are looked for")
    blobs = Path(hub.constants.HF_HUB_CACHE) / f"{asked['repo_type']}s--{name.replace('/', '--')}" / "blobs"

    def bring() -> Path:
        with bounded(hub, 6 * TIMEOUT):
            # the first by its branch, which the cache then knows; the others from the same commit
            options = {**asked, "etag_timeout": TIMEOUT, "library_name": "minillm"}
            first = Path(hub.hf_hub_download(name, files[0], **options))
            folder = first.parents[len(PurePosixPath(files[0]).parts) - 1]
            if folder.name != commit:
                raise DownloadError(f"{name} was changed on the hub just now: load it again")
            for file in files[1:]:
                hub.hf_hub_download(name, file, **options | {"revision": commit})
        return folder

    return watched(bring, PATIENCE, lambda: size_of(blobs))


def metadata(card: Path) -> dict[str, Any]:
    """What stands in the head of a README.md of the hub, {} where there is none; BadFileError where it is no YAML."""
    head = read_bytes(card, "dataset card")[:4]
    if not head.startswith(b"---"):
        return {}
    hub = library(f"to read the head of {card}")
    try:
        return hub.metadata_load(card) or {}
    except Exception as error:  # of a YAML reader that is no dependency of ours
        raise BadFileError(
            f"the head of {str(card)!r} is refused: {' '.join(str(error).split())[:150]}"
        ) from None


def push(
    name: str,
    save: Callable[[Path], Any],
    token: str | bool | None = None,
    private: bool = False,
    commit_message: str | None = None,
) -> str:
    """Write files with `save(folder)` and upload them as one commit to the model repository `name`; its address.

    The repository is made where there is none, private or not. token: as in `find`, one that may write. Raises
    ValueError for a name that is none, ImportError without the extra, DownloadError (an OSError) when the hub does not
    take it: no token, no right to write there, no network. The repository then has all of the files or none of them.
    """
    check_flag("private", private)
    if commit_message is not None:
        check_text("commit_message", commit_message)
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise ValueError(f"a name on the hub is owner/name, got {describe(name)}")
    hub = library("to push to the hub")
    if token is False or (token is None and not hub.get_token()):
        raise DownloadError(
            f"{name} cannot be pushed without a token: pass token=, set HF_TOKEN, or `hf auth login`"
        )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save(folder)

        def send() -> str:
            with bounded(hub, 6 * TIMEOUT):
                api = hub.HfApi(token=token)
                made = api.create_repo(name, private=private, exist_ok=True)
                # the hub keeps checksums of its own, and files may be edited there
                without = ["checksums.json"]
                api.upload_folder(
                    repo_id=name, folder_path=folder, commit_message=commit_message, ignore_patterns=without
                )
            return str(made)

        try:
            return watched(send, PATIENCE + size_of(folder) / SLOWEST)
        except (hub.errors.HTTPError, OSError, ValueError, RuntimeError) as error:
            raise mended(hub, name, "model", None, error, "pushed") from None


class Pushed:
    """What models and tokenizers share: what they save can be uploaded."""

    saves_by: ClassVar[str] = "save"  # the method that writes the files into a folder

    def push_to_hub(
        self,
        name: str,
        token: str | bool | None = None,
        private: bool = False,
        commit_message: str | None = None,
    ) -> str:
        """Upload the files to "owner/name" of the hub, as one commit; the repository's address. As in `push`."""
        message = f"Upload {type(self).__name__}" if commit_message is None else commit_message
        return push(name, getattr(self, self.saves_by), token, private, message)
