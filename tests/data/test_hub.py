"""Names of the hub: downloads, cache, pushes and everything that goes wrong, on a small hub on this machine."""

import os
import re
import subprocess
import sys
import threading
import time
from functools import partial

import huggingface_hub
import pytest
import torch

import minillm.data.hub as hub_module
from minillm._files import BadFileError
from minillm.data import DownloadError
from minillm.data.hub import find, is_name, model_files, tokenizer_files
from minillm.models import GPT2, GPT2Config, load_model
from minillm.tokenizer import BPETokenizer, load_tokenizer
from tests.hub_server import running_hub

CONFIG = GPT2Config(vocab_size=300, n_positions=32, n_embd=64, n_layer=1, n_head=2)
IDS = torch.tensor([[5, 7, 11, 2]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with its tokenizer, and what a repository holds beside them."""
    path = tmp_path_factory.mktemp("model")
    GPT2(CONFIG, seed=3).save_pretrained(path)
    BPETokenizer.train(["some words, and some more words"], 270).save(path)
    return path


@pytest.fixture(scope="module")
def files(folder):
    beside = {"README.md": b"# a model", "pytorch_model.bin": b"\x80\x04pickle", "onnx/model.onnx": b"no"}
    return beside | {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_name_opens_the_model_and_the_tokenizer_and_brings_nothing_else(hub, files, folder):
    hub.add("someone/tiny", files)
    model, tokenizer = load_model("someone/tiny"), load_tokenizer("someone/tiny")
    assert torch.equal(model(IDS).logits, load_model(folder)(IDS).logits)
    assert tokenizer.encode("some words") == load_tokenizer(folder).encode("some words")
    assert sorted(hub.downloads()) == [
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip


def test_transformers_finds_in_the_cache_what_we_put_there(hub, files):
    transformers = pytest.importorskip("transformers")
    hub.add("someone/tiny", files)
    ours = load_model("someone/tiny")
    before = len(hub.downloads())
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        "someone/tiny", cache_dir=huggingface_hub.constants.HF_HUB_CACHE, local_files_only=True
    )
    torch.testing.assert_close(theirs(IDS).logits, ours(IDS).logits)
    assert len(hub.downloads()) == before


def test_the_second_time_nothing_is_downloaded_and_no_hub_is_needed(hub, files, monkeypatch):
    hub.add("someone/tiny", files)
    first = load_model("someone/tiny")
    downloaded = hub.downloads()
    load_model("someone/tiny")
    assert hub.downloads() == downloaded
    asked = len(hub.asked)
    again = load_model("someone/tiny", local_files_only=True)
    assert len(hub.asked) == asked
    hub.shutdown()
    hub.server_close()
    for model in (again, load_model("someone/tiny")):
        assert torch.equal(model(IDS).logits, first(IDS).logits)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert torch.equal(load_model("someone/tiny")(IDS).logits, first(IDS).logits)


def test_a_revision_is_a_branch_or_a_commit(hub, files, tmp_path):
    repository = hub.add("someone/tiny", files)
    old = repository.revisions["main"]
    GPT2(CONFIG, seed=4).save_pretrained(tmp_path / "new")
    repository.commit({"model.safetensors": (tmp_path / "new" / "model.safetensors").read_bytes()}, "main")
    new = load_model("someone/tiny")
    first = load_model("someone/tiny", revision=old)
    assert torch.equal(new(IDS).logits, GPT2(CONFIG, seed=4).eval()(IDS).logits)
    assert torch.equal(first(IDS).logits, GPT2(CONFIG, seed=3).eval()(IDS).logits)
    with pytest.raises(DownloadError, match="has no revision 'v9'"):
        load_model("someone/tiny", revision="v9")


def test_a_path_wins_over_a_name(hub, files, tmp_path):
    GPT2(CONFIG, seed=8).save_pretrained(tmp_path / "someone" / "tiny")
    hub.add("someone/tiny", files)
    assert torch.equal(load_model("someone/tiny")(IDS).logits, GPT2(CONFIG, seed=8).eval()(IDS).logits)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        (
            "someone/nothing",
            {},
            "is no path here and cannot be downloaded: the hub has no model of this name",
        ),
        ("someone/gated", {}, "its owner asks for consent: accept the terms on its page, then pass token="),
        ("someone/secret", {}, r"no model of this name, or it is private \(then pass token=\)"),
        ("someone/secret", {"token": "wrong"}, "or it is private"),
        ("some--one/x..y", {}, "no name that the hub takes: a name is owner/name"),
        ("someone/tiny", {"local_files_only": True}, "not in the hub's cache .*: load it once without"),
    ],
)
def test_what_the_hub_does_not_give_is_one_line(hub, files, name, how, message):
    hub.add("someone/gated", files, gated=True, token="right")
    hub.add("someone/secret", files, private=True, token="right")
    for load in (load_model, load_tokenizer):
        with pytest.raises((DownloadError, ValueError), match=message) as caught:
            load(name, **how)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)
    assert hub.downloads() == []


def test_a_token_opens_what_is_gated_or_private(hub, files, monkeypatch):
    hub.add("someone/gated", files, gated=True, token="right")
    hub.add("someone/secret", files, private=True, token="right")
    assert load_model("someone/gated", token="right").num_parameters()
    monkeypatch.setenv("HF_TOKEN", "right")
    assert load_model("someone/secret").num_parameters()
    with pytest.raises(DownloadError, match="private"):
        find("someone/secret", "model", token=False)


@pytest.mark.parametrize(
    ("status", "message"),
    [(503, "the hub answered 503: try again later"), (429, "too many requests"), (401, "token")],
)
def test_an_answer_that_is_no_file(hub, status, message):
    hub.status = status
    with pytest.raises(DownloadError, match=message):
        load_model("someone/tiny")


def test_without_a_network_the_line_says_what_to_do(hub, monkeypatch):
    hub.shutdown()
    hub.server_close()
    with pytest.raises(
        DownloadError, match=r"\(http://127.*\) cannot be reached\. Load it once with a network, or"
    ):
        load_model("someone/tiny")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE forbids to ask the hub"):
        load_model("someone/tiny")


def test_a_hub_that_never_answers_is_given_up(hub, monkeypatch):
    monkeypatch.setattr(hub_module, "TIMEOUT", 0.2)
    hub.silent = True
    start = time.monotonic()
    with pytest.raises(DownloadError, match="does not answer"):
        load_model("someone/tiny")
    assert time.monotonic() - start < 10


def test_a_file_that_stops_growing_is_given_up(hub, files, monkeypatch):
    """The list comes, and then nothing: the library itself would try again for minutes."""
    hub.add("someone/tiny", files)
    monkeypatch.setattr(hub_module, "PATIENCE", 1.0)
    monkeypatch.setattr(hub_module, "TIMEOUT", 0.2)
    api = huggingface_hub.HfApi.repo_info

    def and_then_silence(*arguments, **options):
        info = api(*arguments, **options)
        hub.silent = True
        return info

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", and_then_silence)
    start = time.monotonic()
    with pytest.raises(
        DownloadError, match=r"nothing came for 1 seconds|does not answer"
    ):  # older ones try once
        load_model("someone/tiny")
    assert time.monotonic() - start < 10
    hub.silent = False  # the thread that was left behind gets its answer, and ends
    hub.released.set()
    for thread in [thread for thread in threading.enumerate() if thread.name == "minillm.data.hub_library"]:
        thread.join(60)
        assert not thread.is_alive()


def test_a_body_that_is_cut_leaves_nothing_that_would_be_loaded(hub, files, monkeypatch):
    hub.add("someone/tiny", files)
    hub.cut = True
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the library's pauses before it tries again
    with pytest.raises(DownloadError, match="cannot be downloaded"):
        load_model("someone/tiny")
    hub.cut = False
    assert load_model("someone/tiny").num_parameters()


def test_weights_in_a_pickle_are_refused_by_name(hub, files):
    pickled = {name: data for name, data in files.items() if name != "model.safetensors"}
    hub.add("someone/tiny", pickled)
    with pytest.raises(
        BadFileError, match=r"someone/tiny holds its weights as pytorch_model\.bin .* a pickle"
    ):
        load_model("someone/tiny")
    assert hub.downloads() == []


def test_the_files_that_are_chosen():
    sharded = ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
               "model.safetensors.index.json", "model.fp16.safetensors", "x/model.safetensors"]  # fmt: skip
    assert model_files("a/b", sharded) == sorted(sharded[:4])
    assert model_files("a/b", [*sharded, "model.safetensors"]) == ["config.json", "model.safetensors"]
    assert tokenizer_files("a/b", ["vocab.json", "merges.txt", "x.txt"]) == ["vocab.json", "merges.txt"]
    assert tokenizer_files("a/b", ["tokenizer.json", "vocab.txt"]) == ["tokenizer.json"]
    with pytest.raises(
        BadFileError, match=r"a/b holds no model.safetensors: download m\.Q4_0\.gguf and open its path"
    ):
        model_files("a/b", ["config.json", "m.Q4_0.gguf"])
    with pytest.raises(
        BadFileError, match=r"no tokenizer\.json, .*: download spiece\.model and open its path"
    ):
        tokenizer_files("a/b", ["spiece.model"])


def test_names_and_paths_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_name("klue/roberta-base")
    for text in ("gpt2", "a/b/c", "./x", "/a/b", "a/b.gguf", "a/tokenizer.json", "a\\b", "", None, "한국/어"):
        assert not is_name(text), text


def test_hostile_file_names_are_passed_over(hub, files):
    hub.add("someone/tiny", {**files, "../evil/config.json": b"", "/etc/model.safetensors": b"", "a\\b": b""})
    assert load_model("someone/tiny").num_parameters()
    assert all(name in files for name in hub.downloads())


def test_push_then_load_gives_the_same_model_and_tokenizer(hub):
    model, tokenizer = GPT2(CONFIG, seed=5).eval(), BPETokenizer.train(["words and words"], 270)
    address = model.push_to_hub("me/mine", token="write", private=True, commit_message="First")
    assert address == f"{hub.url}/me/mine"
    assert tokenizer.push_to_hub("me/mine", token="write") == address
    assert hub.messages == ["First", "Upload BPETokenizer"]
    assert set(hub.files("me/mine")) == {
        ".gitattributes", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert ("POST", "/me/mine.git/info/lfs/objects/batch") in hub.asked  # the weights went as a large file
    assert hub.repositories["model", "me/mine"].private
    again = load_model("me/mine", token="write")
    assert torch.equal(again(IDS).logits, model(IDS).logits)
    assert load_tokenizer("me/mine", token="write").encode("words") == tokenizer.encode("words")


def test_a_push_that_cannot_be_is_one_line(hub, monkeypatch):
    model = GPT2(CONFIG)
    with pytest.raises(DownloadError, match="cannot be pushed without a token: pass token=, set HF_TOKEN"):
        model.push_to_hub("me/mine")
    with pytest.raises(ValueError, match="a name on the hub is owner/name, got 'mine'"):
        model.push_to_hub("mine", token="write")
    with pytest.raises(DownloadError, match="the hub refuses the token: make one that may write"):
        model.push_to_hub("me/mine", token="read")
    hub.status = 500
    with pytest.raises(DownloadError, match="me/mine cannot be pushed: the hub answered 500"):
        model.push_to_hub("me/mine", token="write")
    hub.status = None
    hub.silent = True
    monkeypatch.setattr(hub_module, "TIMEOUT", 0.1)
    with pytest.raises(DownloadError, match="does not answer"):
        model.push_to_hub("me/mine", token="write")
    assert hub.repositories == {}


def test_without_the_extra_the_line_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"'someone/tiny' is no path here, .*: pip install -e '\.\[hub\]'"):
        load_model("someone/tiny")
    with pytest.raises(ImportError, match=r"pip install -e '\.\[hub\]'"):
        GPT2(CONFIG).push_to_hub("me/mine", token="x")


def test_as_a_user_has_it_through_the_environment(files, tmp_path):
    """A process of its own with HF_ENDPOINT and HF_HOME, which the library reads when it is imported."""
    program = """
from minillm.models import load_model
from minillm.tokenizer import load_tokenizer
print(load_model("someone/tiny").num_parameters(), load_tokenizer("someone/tiny").vocab_size)
"""
    with running_hub() as hub:
        hub.add("someone/tiny", files)
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        run = partial(subprocess.run, capture_output=True, text=True, timeout=120, env=environment)
        online = run(
            [
                sys.executable,
                "-m",
                "minillm.cli",
                "generate",
                "someone/tiny",
                "some words",
                "--max-tokens",
                "3",
            ]
        )
        assert online.stdout.startswith("some words"), online.stderr
        online = run([sys.executable, "-c", program])
    offline = run([sys.executable, "-c", program])
    expected = f"{GPT2(CONFIG).num_parameters()} 270\n"
    assert (online.stdout, offline.stdout) == (expected, expected), online.stderr + offline.stderr
    command = [sys.executable, "-m", "minillm.cli", "convert", "someone/other", str(tmp_path / "x.gguf")]
    done = run(command)
    assert done.returncode == 1
    assert re.fullmatch(
        r"minillm: error: 'someone/other' is no path here and cannot be .* reached\..*\n", done.stderr
    )
