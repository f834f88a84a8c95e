"""Data sets by name: found, checked, downloaded once, refused clearly; and every real one opens."""

import hashlib
import http.server
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from minillm._files import BadFileError
from minillm.data import (
    DownloadError,
    cache_folder,
    dataset_info,
    dataset_names,
    datasets,
    downloads,
    load_dataset,
)

ROWS = [{"text": "한국어 문장"}, {"text": "두 번째"}]
CONTENT = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def web():
    """A server whose only page is `web.content`; `web.asked` counts the requests."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked += 1
            self.send_response(200 if server.content is not None else 404)
            self.send_header("Content-Length", str(len(server.content or b"")))
            self.end_headers()
            self.wfile.write(server.content or b"")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.content = 0, CONTENT
    server.url = f"http://127.0.0.1:{server.server_address[1]}/file.jsonl"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def registry(monkeypatch, tmp_path, web):
    """A list of two small data sets whose files are on `web`, with an empty cache and no MINILLM_DATA."""
    monkeypatch.delenv("MINILLM_DATA", raising=False)
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path / "cache"))

    def entry(sha256, size):
        known = {"path": "small/file.jsonl", "url": web.url, "sha256": sha256, "bytes": size}
        part = {"path": "small/part.jsonl", "sha256": None, "bytes": None}
        train = [{"records": 2, "files": [known]}, {"records": 1, "note": "a part", "files": [part]}]
        only = [{"records": 1, "files": [part]}]
        return {
            "about": "a",
            "licence": "MIT",
            "origin": "o",
            "format": "jsonl",
            "splits": {"train": train, "local": only},
        }

    entries = {"small": entry(SHA256, len(CONTENT)), "unknown": entry(None, None)}
    monkeypatch.setattr(datasets, "_registry", lambda: entries)
    return entries


def test_downloaded_once_then_read_from_the_cache(registry, web, tmp_path):
    assert load_dataset("small", "train").to_list() == ROWS
    assert load_dataset("small", "train").to_list() == ROWS
    assert web.asked == 1
    assert (tmp_path / "cache" / "datasets" / "small" / "file.jsonl").read_bytes() == CONTENT


def test_own_folder_comes_first_and_a_part_is_enough(registry, web, tmp_path, monkeypatch):
    own = tmp_path / "own" / "small"
    own.mkdir(parents=True)
    (own / "part.jsonl").write_text('{"text": "part"}')
    monkeypatch.setenv("MINILLM_DATA", str(tmp_path / "own"))
    for split in ("train", "local"):
        assert load_dataset("small", split).to_list() == [{"text": "part"}]
    (own / "file.jsonl").write_bytes(CONTENT)
    assert load_dataset("small", "train").to_list() == ROWS
    assert web.asked == 0


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT.replace(b"\n", b" "), b"", b"other"])
def test_a_damaged_cache_is_refused_by_name_with_what_to_do(registry, tmp_path, damage):
    load_dataset("small", "train")
    path = tmp_path / "cache" / "datasets" / "small" / "file.jsonl"
    path.write_bytes(damage)
    with pytest.raises(BadFileError, match=r"file\.jsonl.*sha256.*Delete it"):
        load_dataset("small", "train")
    path.unlink()
    assert load_dataset("small", "train").to_list() == ROWS


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b" ", b"", b"x" * len(CONTENT), None])
def test_other_content_on_the_web_is_refused_and_not_kept(registry, web, tmp_path, content):
    web.content = content
    with pytest.raises(
        DownloadError, match=r"'small', split 'train' cannot be downloaded: http.*MINILLM_DATA"
    ):
        load_dataset("small", "train")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_unverified_downloads_need_consent_and_are_held_to_the_first(registry, web, tmp_path):
    with pytest.raises(DownloadError, match="allow_unverified=True"):
        load_dataset("unknown", "train")
    assert web.asked == 0
    assert load_dataset("unknown", "train", allow_unverified=True).to_list() == ROWS
    assert load_dataset("unknown", "train").to_list() == ROWS
    path = tmp_path / "cache" / "datasets" / "small" / "file.jsonl"
    path.write_bytes(CONTENT.replace(b"}", b" }"))
    with pytest.raises(BadFileError, match=SHA256):
        load_dataset("unknown", "train")


def test_offline_names_the_set_the_address_and_what_to_do(registry, web):
    web.shutdown()
    web.server_close()
    with pytest.raises(
        DownloadError, match=r"'small'.*cannot be reached.*put small/file\.jsonl.*MINILLM_DATA"
    ) as error:
        load_dataset("small", "train")
    assert web.url in str(error.value)


def test_a_split_that_is_not_on_the_web_says_where_to_put_it(registry):
    with pytest.raises(DownloadError, match=r"from o\): put small/part\.jsonl into a folder"):
        load_dataset("small", "local")


def test_a_cache_that_cannot_be_written_is_said(registry, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match="cannot be downloaded"):
        load_dataset("small", "train")


def test_unknown_names_and_splits_list_the_known_ones():
    with pytest.raises(ValueError, match=r"did you mean 'korquad'\?.*klue_ynat"):
        load_dataset("korquadd", "train")
    with pytest.raises(ValueError, match="'train', 'validation', 'test', got 'dev'"):
        load_dataset("korsts", "dev")
    with pytest.raises(ValueError, match="split of 'korsts' must be one of"):
        load_dataset("korsts")
    with pytest.raises(ValueError, match="allow_unverified"):
        load_dataset("korsts", "train", allow_unverified="yes")


@pytest.mark.parametrize("bad", [None, 3, ["mnist"], b"mnist", ""])
def test_bad_names_are_refused(bad):
    for function in (load_dataset, dataset_info):
        with pytest.raises(ValueError, match="name"):
            function(bad)


def test_a_data_folder_that_is_none_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("MINILLM_DATA", str(tmp_path / "missing"))
    with pytest.raises(ValueError, match="MINILLM_DATA must name a folder"):
        load_dataset("names")


def test_cache_folder_follows_the_environment_and_the_platform(monkeypatch, tmp_path):
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("MINILLM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    for platform, ending in (
        ("linux", "xdg/minillm"),
        ("darwin", "Library/Caches/minillm"),
        ("win32", "minillm/cache"),
    ):
        monkeypatch.setattr(downloads.sys, "platform", platform)
        assert cache_folder().as_posix().endswith(ending)


def test_every_entry_of_the_list_is_complete():
    assert {"klue_ynat", "korsts", "kornli", "stsb", "nsmc", "korquad", "korean_chat", "geoquery", "spider",
            "cranfield", "mnist", "fashion_mnist", "tinyshakespeare", "tinystories", "names", "instruct",
            "preference", "gsm8k", "mmlu"} <= set(dataset_names())  # fmt: skip
    for name in dataset_names():
        info = dataset_info(name)
        assert info.about
        assert info.licence
        assert info.origin
        for sources in info.splits.values():
            for source in sources:
                assert source.records > 0
                assert not any(Path(file).is_absolute() or ".." in file for file in source.files)
                assert all(url.startswith(("https://", "http://")) for url in source.urls)
                # What cannot be checked can at least be fetched with consent.
                assert source.verified or source.urls


SPLITS = [(name, split) for name in dataset_names() for split in dataset_info(name).splits]


@pytest.mark.parametrize(("name", "split"), SPLITS, ids=lambda value: value)
def test_every_real_split_opens_with_its_number_of_records(name, split, real_data, monkeypatch, tmp_path):
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path))
    sources = dataset_info(name).splits[split]
    root = real_data(".")
    here = [source for source in sources if all((root / file).is_file() for file in source.files)]
    if not here:
        pytest.skip(f"needs {sources[0].files[0]} below MINILLM_DATA")
    data = load_dataset(name, split)
    assert len(data["images"] if name in ("mnist", "fashion_mnist") else data) == here[0].records


def test_real_rows_have_the_shape_their_readers_expect(real_data):
    real_data("klue")
    ynat = load_dataset("klue_ynat", "validation")
    assert {row["label"] for row in ynat} == {"IT과학", "경제", "사회", "생활문화", "세계", "스포츠", "정치"}
    for row in load_dataset("korquad", "validation").take(500):
        for start, text in zip(row["answers"]["answer_start"], row["answers"]["text"]):
            assert row["context"][start : start + len(text)] == text
    for name in ("korsts", "stsb"):
        assert {0 <= row["score"] <= 5 for row in load_dataset(name, "train")} == {True}
    assert sum(row["label"] for row in load_dataset("nsmc", "test")) == 2000
    assert {row["answer"] for row in load_dataset("mmlu", "test")} == set("ABCD")
    assert {row["subject"] for row in load_dataset("mmlu", "dev")} >= {"marketing"}
    digits = load_dataset("mnist", "test")
    assert (digits["images"].shape, digits["images"].dtype) == ((10000, 28, 28), np.uint8)
    assert np.bincount(digits["labels"])[:3].tolist() == [980, 1135, 1032]  # as published
    assert sorted(load_dataset("spider", "databases"))[0] == "battle_death"
