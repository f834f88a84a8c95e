"""Data sets of the hub and folders like them: which files are read, and into which splits."""

import json

import pytest

from minillm._files import BadFileError
from minillm.data import Dataset, DownloadError, load_dataset
from minillm.data.hub_datasets import split_of

TRAIN = "text,label\n안녕하세요,1\nhello,0\n".encode()
DEV = "text,label\n좋아요,1\n".encode()
ROWS = [{"text": "안녕하세요", "label": 1}, {"text": "hello", "label": 0}]


def jsonl(*rows):
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def test_all_splits_or_one_and_only_its_files_are_downloaded(hub):
    hub.add("someone/data", {"train.csv": TRAIN, "data/dev.csv": DEV, "script.py": b"boom"}, kind="dataset")
    part = load_dataset("someone/data", split="validation")
    assert part.to_list() == [{"text": "좋아요", "label": 1}]
    assert hub.downloads() == ["data/dev.csv"]
    both = load_dataset("someone/data")
    assert {name: len(rows) for name, rows in both.items()} == {"train": 2, "validation": 1}
    assert both["train"].to_list() == ROWS
    assert sorted(hub.downloads()) == ["data/dev.csv", "train.csv"]
    hub.shutdown()
    hub.server_close()
    assert load_dataset("someone/data", "train").to_list() == ROWS  # from the cache
    assert load_dataset("someone/data", "train", local_files_only=True).to_list() == ROWS


def test_jsonl_and_parquet_in_parts(hub, tmp_path):
    pytest.importorskip("pyarrow")
    for number, row in enumerate(ROWS):
        Dataset.from_list([row]).to_parquet(tmp_path / f"{number}.parquet")
    parts = {
        f"data/train-0000{n}-of-00002.parquet": (tmp_path / f"{n}.parquet").read_bytes() for n in range(2)
    }
    hub.add("someone/parts", parts, kind="dataset")
    assert load_dataset("someone/parts", split="train").to_list() == ROWS
    hub.add("someone/lines", {"rows.jsonl": jsonl(*ROWS)}, kind="dataset")
    assert load_dataset("someone/lines", split="train").to_list() == ROWS


CARD = """---
license: mit
configs:
- config_name: ynat
  data_files:
  - split: train
    path: ynat/train-*
  - split: test
    path: ["ynat/held.jsonl"]
- config_name: sts
  data_files: sts/all.jsonl
---
# A data set
"""


def test_the_card_says_which_files_are_which_split(hub):
    files = {
        "README.md": CARD.encode(), "ynat/train-0.jsonl": jsonl(ROWS[0]), "ynat/held.jsonl": jsonl(ROWS[1]),
        "sts/all.jsonl": jsonl({"score": 1.5}),
    }  # fmt: skip
    hub.add("someone/several", files, kind="dataset")
    both = load_dataset("someone/several", subset="ynat")
    assert {name: rows.to_list() for name, rows in both.items()} == {"train": ROWS[:1], "test": ROWS[1:]}
    assert load_dataset("someone/several", "train", subset="sts").to_list() == [{"score": 1.5}]
    with pytest.raises(
        ValueError, match="someone/several has the subsets 'ynat', 'sts': name one with subset="
    ):
        load_dataset("someone/several")
    with pytest.raises(ValueError, match="has the subsets 'ynat', 'sts', got 'nli'"):
        load_dataset("someone/several", subset="nli")
    named = load_dataset("someone/several", "train", data_files={"train": "sts/*.jsonl"})
    assert named.to_list() == [{"score": 1.5}]


def test_what_cannot_be_read_is_one_line(hub):
    hub.add("someone/zip", {"all.zip": b"PK", "load.py": b""}, kind="dataset")
    with pytest.raises(
        BadFileError, match=r"someone/zip holds no \.parquet, .* file to read, but all\.zip, load\.py"
    ):
        load_dataset("someone/zip")
    hub.add("someone/data", {"train.csv": TRAIN}, kind="dataset")
    with pytest.raises(ValueError, match="split of someone/data must be one of 'train', got 'test'"):
        load_dataset("someone/data", "test")
    with pytest.raises(ValueError, match=r"no file for data_files 'x\.csv'"):
        load_dataset("someone/data", data_files="x.csv")
    with pytest.raises(DownloadError, match="the hub has no data set of this name"):
        load_dataset("someone/nothing")
    hub.add("someone/bad", {"README.md": b"---\na: [\n---\n", "train.csv": TRAIN}, kind="dataset")
    with pytest.raises(BadFileError, match=r"the head of .*README\.md' is refused"):
        load_dataset("someone/bad")


def test_a_folder_is_read_as_the_hub_would_be(tmp_path):
    folder = tmp_path / "someone" / "data"
    folder.mkdir(parents=True)
    (folder / "train.csv").write_bytes(TRAIN)
    (folder / "valid.csv").write_bytes(DEV)
    assert set(load_dataset(str(folder))) == {"train", "validation"}
    assert load_dataset(str(folder), "train").to_list() == ROWS


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("train.csv", "train"), ("data/train-00000-of-00001.parquet", "train"), ("ynat-v1.1_dev.json", "validation"),
        ("test/rows.jsonl", "test"), ("eval.csv", "test"), ("training_set.csv", "train"), ("val/1.csv", "validation"),
        ("latest.csv", None), ("trains.csv", None), ("rows.csv", None), ("x/Validation.csv", "validation"),
    ],
)  # fmt: skip
def test_a_name_says_its_split(file, split):
    assert split_of(file) == split
