"""Dataset beside `datasets`: the same columns, rows and orders from the same calls; parquet and pandas both ways."""

import numpy as np
import pytest

from minillm.data import Dataset, concatenate_datasets, load_dataset

theirs = pytest.importorskip("datasets", reason="parity: pip install -e '.[parity]'")
theirs.disable_progress_bars()
theirs.disable_caching()


def columns(n=97, seed=0):
    draw = np.random.default_rng(seed)
    return {
        "text": [f"문장 {i} {'긴 ' * int(draw.integers(4))}" for i in range(n)],
        "label": draw.integers(0, 3, n).tolist(),
        "score": [None if x < 0.1 else round(float(x), 6) for x in draw.random(n)],
        "ids": [draw.integers(0, 9, int(size)).tolist() for size in draw.integers(0, 5, n)],
        "answers": [{"text": [str(i)] * (i % 3), "start": [i] * (i % 3)} for i in range(n)],
    }


@pytest.fixture(scope="module")
def pair():
    return Dataset.from_dict(columns()), theirs.Dataset.from_dict(columns())


def flatten(batch, sep):
    return {"word": [word for text in batch["text"] for word in text.split(sep)]}


def change_in_place(row):
    row["n"] = len(row["ids"])
    return row


CALLS = {
    "all": lambda d: d,
    "select": lambda d: d.select([5, 3, 3, 0]),
    "filter": lambda d: d.filter(lambda row: row["label"] == 1),
    "filter with numbers": lambda d: d.filter(lambda row, i: i % 3 == 0, with_indices=True),
    "filter batched": lambda d: d.filter(lambda b: [x > 1 for x in b["label"]], batched=True, batch_size=10),
    "filter by column": lambda d: d.filter(lambda x: x is not None and x > 0.5, input_columns="score"),
    "map": lambda d: d.map(lambda row: {"n": len(row["text"]), "label": row["label"] + 1}),
    "map in place": lambda d: d.map(change_in_place, remove_columns=["text", "ids"]),
    "map gives the removed name": lambda d: d.map(
        lambda row: {"ids": row["ids"] + [1]}, remove_columns=["ids"]
    ),
    "map with a user's other options": lambda d: d.map(
        lambda row: {"n": row["label"]},
        num_proc=1,
        desc="counting",
        load_from_cache_file=False,
        keep_in_memory=True,
        writer_batch_size=10,
    ),
    "filter with a user's other options": lambda d: d.filter(
        lambda row: row["label"] > 0, num_proc=1, desc="choosing", load_from_cache_file=False
    ),
    "map nothing": lambda d: d.map(lambda row: None),
    "map with numbers": lambda d: d.map(lambda row, i: {"i": i}, with_indices=True),
    "map columns": lambda d: d.map(lambda x, y: {"z": f"{x}{y}"}, input_columns=["text", "label"]),
    "map batched": lambda d: d.map(
        lambda b: {"n": np.array([len(x) for x in b["ids"]])}, batched=True, batch_size=7
    ),
    "map to more rows": lambda d: d.map(
        flatten, batched=True, batch_size=8, remove_columns=d.column_names, fn_kwargs={"sep": " "}
    ),
    "map drops the rest": lambda d: d.map(
        lambda b: {"n": list(range(len(b["text"])))}, batched=True, batch_size=10, drop_last_batch=True
    ),
    "shard": lambda d: d.shard(7, 2),
    "shard, every seventh": lambda d: d.shard(num_shards=7, index=6, contiguous=False),
    "numbers whole and not": lambda d: d.map(lambda row: {"label": row["label"] / 2 if row["label"] else 0}),
    "shuffle": lambda d: d.shuffle(seed=3),
    "shuffle, filter, map": lambda d: (
        d.shuffle(seed=1).filter(lambda r: r["label"]).map(lambda r: {"x": r["label"]})
    ),
    "sort": lambda d: d.sort("score"),
    "sort down": lambda d: d.sort("text", reverse=True),
    "sort by two": lambda d: d.sort(["label", "text"], reverse=[True, False]),
    "rename": lambda d: d.rename_column("text", "sentence"),
    "rename several": lambda d: d.rename_columns({"text": "a", "label": "labels"}),
    "remove": lambda d: d.remove_columns(["text", "score"]),
    "select columns": lambda d: d.select_columns(["label", "text"]),
    "add": lambda d: d.shuffle(seed=2).add_column("n", list(range(97))),
    "take": lambda d: d.take(5),
    "skip": lambda d: d.skip(90),
    "train": lambda d: d.train_test_split(test_size=0.2, seed=5)["train"],
    "test": lambda d: d.train_test_split(test_size=0.2, seed=5)["test"],
    "train of counts": lambda d: d.train_test_split(test_size=7, train_size=11, seed=0)["train"],
    "test of the default": lambda d: d.train_test_split(seed=0)["test"],
    "test without shuffle": lambda d: d.train_test_split(train_size=0.7, shuffle=False)["test"],
    "splits": lambda d: d.train_test_split(test_size=9, seed=0).map(lambda r: {"y": 1})["test"],
}


@pytest.mark.parametrize("name", CALLS)
def test_the_same_call_gives_the_same_rows(pair, name):
    ours, other = (CALLS[name](d) for d in pair)
    assert ours.column_names == other.column_names
    assert ours.to_list() == other.to_list()
    assert len(ours) > 0
    assert ours.shape == other.shape


def test_reading_and_formats(pair):
    ours, other = pair
    for key in (0, -1, slice(3, 9), slice(None, None, 7), [4, 2, 2], range(3), np.array([5, 1])):
        assert ours[key] == other[key]
    for name in ours.column_names:
        assert ours[name] == list(other[name])
    assert ours.unique("label") == other.unique("label")
    tensors, same = (d.select_columns(["label", "ids", "text"]).with_format("torch") for d in pair)
    for key in (0, slice(0, 5)):
        for name in ("label", "ids", "text"):
            mine, its = tensors[key][name], same[key][name]
            assert type(mine) is type(its)
            assert str(mine) == str(its)
            assert getattr(mine, "dtype", None) == getattr(its, "dtype", None)
    two = concatenate_datasets([ours, ours.select([1])])
    assert two.to_list() == theirs.concatenate_datasets([other, other.select([1])]).to_list()


def test_a_stratified_split_has_as_many_of_each_class():
    labels = [0] * 50 + [1] * 30 + [2] * 20
    ours = Dataset.from_dict({"label": labels}).train_test_split(0.3, stratify_by_column="label")
    classes = theirs.Features({"label": theirs.ClassLabel(num_classes=3)})
    other = theirs.Dataset.from_dict({"label": labels}, features=classes)
    other = other.train_test_split(0.3, stratify_by_column="label", seed=0)
    for part in ("train", "test"):
        assert np.bincount(ours[part]["label"]).tolist() == np.bincount(other[part]["label"]).tolist()


def test_files_are_read_by_both(pair, tmp_path):
    ours, other = pair
    ours.to_parquet(tmp_path / "ours.parquet"), other.to_parquet(tmp_path / "theirs.parquet")
    ours.to_json(tmp_path / "ours.json"), other.to_json(tmp_path / "theirs.json")
    cache = str(tmp_path / "cache")
    for name in ("ours", "theirs"):
        for kind, read in (("parquet", Dataset.from_parquet), ("json", Dataset.from_json)):
            path = tmp_path / f"{name}.{kind}"
            assert read(path).to_list() == ours.to_list()
            loaded = theirs.load_dataset(kind, data_files=str(path), cache_dir=cache)["train"]
            assert loaded.to_list() == ours.to_list()
    flat = ours.select_columns(["text", "label", "score"])
    flat.to_csv(tmp_path / "a.csv")
    loaded = theirs.load_dataset("csv", data_files=str(tmp_path / "a.csv"), cache_dir=cache)["train"]
    assert Dataset.from_csv(tmp_path / "a.csv").to_list() == loaded.to_list() == flat.to_list()
    assert Dataset.from_parquet(tmp_path / "ours.parquet", columns=["label"]).column_names == ["label"]


SPLITS = [
    "train", "train[:10%]", "train[10%:]", "train[:33%]", "train[33%:66%]", "train[-7%:]", "train[:-50%]",
    "train[7:13]", "train[-3:]", "train[90:200]", "train[50:10]", "train[:]", "test+train[:2]",
    "train[:5%]+test[50%:]+train[-1:]",
    "train[0%:1%]", "test[:50%]", "train[-200:5]", "train[:100%]",
]  # fmt: skip


def test_pieces_of_splits_are_the_same_rows(tmp_path):
    files = {}
    for part, size in (("train", 97), ("test", 11)):
        files[part] = str(Dataset.from_dict({"n": list(range(size))}).to_json(tmp_path / f"{part}.jsonl"))
    for split in SPLITS:
        ours = load_dataset("json", data_files=files, split=split)
        other = theirs.load_dataset("json", data_files=files, split=split, cache_dir=str(tmp_path / "cache"))
        assert ours["n"] == list(other["n"]), split
    for split in (
        "train[",
        "train[1]",
        "[1:2]",
        "train[:200%]",
        "train[a:b]",
        "train]",
        "train++test",
        "none[:2]",
    ):
        with pytest.raises(ValueError, match=r"split must|a share"):
            load_dataset("json", data_files=files, split=split)
        with pytest.raises((ValueError, AssertionError, KeyError)):
            theirs.load_dataset("json", data_files=files, split=split, cache_dir=str(tmp_path / "cache"))


@pytest.mark.parametrize("encoding", ["utf-8", "cp949", "euc-kr", "utf-16"])
def test_a_csv_file_in_another_encoding(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_text(
        "글,label\n똠방각하 보낸 값,1\n둘째,0\n".replace("똠", "또" if encoding == "euc-kr" else "똠"),
        encoding,
    )
    given = {"data_files": str(path), "split": "train", "encoding": encoding}
    other = theirs.load_dataset("csv", cache_dir=str(tmp_path / "cache"), **given)
    assert load_dataset("csv", **given).to_list() == other.to_list()


def test_a_file_without_rows_keeps_its_columns(tmp_path):
    """`datasets` refuses such files; the libraries it reads them with do not."""
    (tmp_path / "a.csv").write_text("text,label\n", encoding="utf-8")
    frame = pytest.importorskip("pandas").read_csv(tmp_path / "a.csv")
    ours = Dataset.from_csv(tmp_path / "a.csv")
    assert (ours.column_names, ours.num_rows) == (list(frame.columns), len(frame))
    theirs.Dataset.from_dict({"n": [1]}).select([]).to_parquet(tmp_path / "a.parquet")
    assert Dataset.from_parquet(tmp_path / "a.parquet").column_names == ["n"]


def test_a_data_frame_both_ways(pair):
    ours, other = (d.select_columns(["text", "label", "score", "ids"]) for d in pair)
    frame = ours.to_pandas()
    assert frame.equals(ours.from_pandas(frame).to_pandas())
    assert ours.from_pandas(other.to_pandas()).to_list() == ours.to_list()
    chosen = frame[frame.label == 1]
    back = Dataset.from_pandas(chosen)
    assert back.column_names == theirs.Dataset.from_pandas(chosen).column_names
    assert back.to_list() == theirs.Dataset.from_pandas(chosen).to_list()


def test_a_damaged_parquet_file_is_refused_by_name(pair, tmp_path):
    path = pair[0].to_parquet(tmp_path / "a.parquet")
    whole = path.read_bytes()
    for size in (0, 3, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"a\.parquet"):
            Dataset.from_parquet(path)
    with pytest.raises(ValueError, match="takes a DataFrame, got 5"):
        Dataset.from_pandas(5)
