"""The doctor's rows are true of this machine, and name what is missing with what to do."""

import importlib.metadata
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from minillm._files import BadFileError
from minillm.course.tour import doctor
from minillm.data import REAL_MODELS, fetch
from minillm.models import Llama, LlamaConfig, save_gguf
from tests.helpers import needs_model


def rows():
    return {row["what"]: row for row in doctor.report()}


def test_rows_are_plain_text_and_name_this_machine():
    found = doctor.report()
    assert all(set(row) == {"what", "found", "advice"} for row in found)
    assert all(isinstance(value, str) for row in found for value in row.values())
    table = rows()
    assert len(table) == len(found), "no two rows of one name"
    release = torch.__version__.partition("+")[
        0
    ]  # a build for CUDA is "2.13.0+cu130" to itself, "2.13.0" to pip
    assert table["torch"]["found"] == importlib.metadata.version("torch")
    assert table["torch"]["found"].partition("+")[0] == release
    assert table["python"]["found"].startswith(".".join(map(str, sys.version_info[:3])))
    assert f"{torch.get_num_threads()} threads" in table["processor"]["found"]


def test_it_says_what_to_do_about_missing_data(monkeypatch, tmp_path):
    monkeypatch.delenv("MINILLM_DATA", raising=False)
    assert rows()["MINILLM_DATA"]["found"] == "not set"
    monkeypatch.setenv("MINILLM_DATA", str(tmp_path / "nowhere"))
    assert "is not a folder" in rows()["MINILLM_DATA"]["found"]
    assert rows()["MINILLM_DATA"]["advice"]
    monkeypatch.setenv("MINILLM_DATA", str(tmp_path))
    assert rows()["MINILLM_DATA"] == {"what": "MINILLM_DATA", "found": str(tmp_path), "advice": ""}


def test_real_models_are_here_or_come_with_their_command(monkeypatch, tmp_path):
    monkeypatch.delenv("MINILLM_DATA", raising=False)
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path))
    assert rows()["cache"]["found"] == str(tmp_path)
    row = rows()["model smollm2"]
    assert row["found"] == "not fetched: SmolLM2-135M-Instruct, 4 bits a weight: answers in English"
    assert row["advice"].startswith('`minillm fetch smollm2` (93 MB) for `minillm generate smollm2 "..."`')
    monkeypatch.setattr(doctor, "available", lambda name: name != "e5")
    table = rows()
    assert [table[f"model {name}"]["advice"] == "" for name in REAL_MODELS] == [True, False, True]


def test_a_model_is_read_through(tmp_path):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = Llama(LlamaConfig(vocab_size=300, max_position_embeddings=32, **sizes))
    folder, file = tmp_path / "folder", tmp_path / "x.gguf"
    model.save_pretrained(folder)
    save_gguf(model, file)
    for path in (folder, file):
        row = doctor.model_row(path)
        assert row == {"what": f"model {path}", "found": "whole: every byte is as it was saved", "advice": ""}
    other = tmp_path / "other"  # as somebody else would have saved it
    other.mkdir()
    save_file(load_file(folder / "model.safetensors"), other / "model.safetensors")
    (other / "config.json").write_bytes((folder / "config.json").read_bytes())
    assert "carries no checksum" in doctor.model_row(other)["found"]
    for path in (folder / "model.safetensors", file):
        data = bytearray(path.read_bytes())
        data[-40] ^= 1
        path.write_bytes(data)
    for path, named in ((folder, "model.safetensors"), (file, "x.gguf")):
        with pytest.raises(BadFileError, match=f"{named}.*checksum"):
            doctor.model_row(path)


@needs_model("smollm2")
def test_a_real_model_is_held_to_the_checksum_that_we_know():
    assert "every byte is as it was saved" in doctor.model_row(fetch("smollm2"))["found"]


def test_missing_packages_come_with_a_pip_line(monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name in {"numba", "nbgrader"}:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    table = rows()
    assert table["numba"]["found"] == "missing"
    assert table["numba"]["advice"].startswith("pip install 'numba")
    assert "nbgrader" in table["extra classroom"]["found"]
    assert "[classroom]" in table["extra classroom"]["advice"]


def test_a_missing_hangul_font_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "hangul_font", lambda: None)
    assert rows()["Hangul font"]["found"] == "none"
    assert "koreanize-matplotlib" in rows()["Hangul font"]["advice"]


@pytest.mark.parametrize(
    ("flags", "said"), [("flags : fpu avx512_bf16 amx", "in hardware"), ("flags : fpu avx2", "emulated")]
)
def test_bfloat16_units_are_read_from_the_processor(monkeypatch, flags, said):
    monkeypatch.setattr(doctor.Path, "read_text", lambda self, encoding: flags)
    assert doctor._bf16_units() == (said == "in hardware")
