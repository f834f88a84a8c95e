"""Dataset: what each verb gives, that nothing changes under a user, and what is refused; `datasets` in tests/parity."""

import csv
import datetime
import json
import pickle
import sys

import numpy as np
import pytest
import torch

from minillm._files import BadFileError
from minillm.data import Dataset, DatasetDict, concatenate_datasets, dataset, load_dataset
from minillm.data.splits import split_rows
from minillm.training import LabelledSet, PairSet

COLUMNS = {"text": ["가나", "b", "", "d"], "label": [1, 0, None, 1], "ids": [[1, 2], [], [3], [4, 5]]}
ROWS = [dict(zip(COLUMNS, values)) for values in zip(*COLUMNS.values())]


@pytest.fixture
def rows():
    return Dataset.from_dict(COLUMNS)


def test_rows_columns_and_pieces(rows):
    assert rows[1] == rows[-3] == rows[np.int64(1)] == ROWS[1]
    assert rows["text"] == COLUMNS["text"]
    assert rows[1:3] == {name: values[1:3] for name, values in COLUMNS.items()}
    assert rows[[3, 0]] == rows[np.array([3, 0])] == {name: [v[3], v[0]] for name, v in COLUMNS.items()}
    assert list(rows) == rows.to_list() == ROWS
    assert rows.to_dict() == COLUMNS
    assert (rows.shape, rows.column_names, len(rows)) == ((4, 3), ["text", "label", "ids"], 4)
    assert rows.features == {"text": "string", "label": "int64", "ids": ["int64"]}
    assert Dataset.from_generator(lambda n: iter(ROWS[:n]), {"n": 2}).to_list() == ROWS[:2]


def test_nothing_that_a_user_does_to_a_value_reaches_the_dataset():
    ids, given = [[1], [2]], {"a": [{"b": [1]}, {"b": [2]}]}
    rows, nested = Dataset.from_dict({"ids": ids}), Dataset.from_dict(given)
    ids[0].append(9), ids.append([3]), given["a"][0]["b"].append(9)
    (
        rows[0]["ids"].append(7),
        rows["ids"].clear(),
        rows[0:1]["ids"][0].append(8),
        nested[0]["a"]["b"].append(8),
    )
    rows.map(lambda row: row["ids"].append(6)), rows.filter(lambda row: row.clear() or True)
    assert rows.to_dict() == {"ids": [[1], [2]]}
    assert nested.to_dict() == {"a": [{"b": [1]}, {"b": [2]}]}


def test_what_comes_in_becomes_plain():
    class Word(str):
        pass

    rows = Dataset.from_dict({
        "a": [Word("x"), np.str_("y")], "b": np.array([1, 2]), "c": [np.float64(0.5), 1.5],
        "d": [True, np.bool_(False)],
        "e": torch.ones(2, 1, requires_grad=True), "f": [(1, 2), np.array([3])], "g": [bytearray(b"a"), b"b"],
        "h": [{"k": np.int64(1)}, {"k": (2,)}],
    })  # fmt: skip
    assert rows.to_dict() == {
        "a": ["x", "y"], "b": [1, 2], "c": [0.5, 1.5], "d": [True, False], "e": [[1.0], [1.0]], "f": [[1, 2], [3]],
        "g": [b"a", b"b"], "h": [{"k": 1}, {"k": [2]}],
    }  # fmt: skip
    kinds = ["string", "int64", "float64", "bool", ["float64"], ["int64"], "binary", {"k": "mixed"}]
    assert list(rows.features.values()) == kinds
    assert {type(rows[0][name]) for name in "abcd"} == {str, int, float, bool}


def test_verbs_share_their_columns_and_leave_the_first_alone(rows):
    others = [
        rows.select([0]), rows.filter(bool), rows.shuffle(), rows.sort("text"), rows.take(2),
        rows.map(lambda row: {"n": 1}), rows.remove_columns("ids"), rows.rename_column("ids", "input_ids"),
        rows.add_column("n", range(4)), rows.with_format("torch"),
    ]  # fmt: skip
    assert all(other._columns["text"] is rows._columns["text"] for other in others)
    assert rows.to_dict() == COLUMNS


def test_map_joins_what_the_function_gives(rows):
    assert rows.map(lambda row: {"n": len(row["text"])})["n"] == [2, 1, 0, 1]
    assert rows.map(lambda row, i, add: {"label": i + add}, True, fn_kwargs={"add": 2})["label"] == [
        2,
        3,
        4,
        5,
    ]
    assert rows.map(lambda text: {"text": text * 2}, input_columns="text")["text"] == [
        "가나가나",
        "bb",
        "",
        "dd",
    ]
    assert rows.map(lambda row: None).to_dict() == COLUMNS
    same = rows.map(lambda row: {**row, "text": "x"}, remove_columns="text")
    assert same["text"] == ["x"] * 4, "what a function gives anew stays"
    assert rows.map(lambda row: row, remove_columns=["text", "ids"]).column_names == ["label"]


def test_batched_map_takes_and_gives_columns(rows):
    sizes = []
    counted = rows.map(
        lambda batch: sizes.append(len(batch["text"])) or {"n": [len(ids) for ids in batch["ids"]]},
        batched=True,
        batch_size=3,
    )
    assert (sizes, counted["n"]) == ([3, 1], [2, 0, 1, 2])
    flat = rows.map(
        lambda batch: {"id": [i for ids in batch["ids"] for i in ids]},
        batched=True,
        remove_columns=rows.column_names,
    )
    assert flat.to_dict() == {"id": [1, 2, 3, 4, 5]}
    short = rows.map(lambda batch: {"n": np.ones(3)}, batched=True, batch_size=3, drop_last_batch=True)
    assert (short["n"], short["text"]) == ([1.0] * 3, COLUMNS["text"][:3])
    assert rows.map(lambda b: {"n": torch.arange(4)}, batched=True, batch_size=None).features["n"] == "int64"


def test_map_on_a_part_keeps_rows_together(rows):
    part = rows.select([3, 1]).skip(1).map(lambda row: {"upper": row["text"].upper()})
    assert part.to_list() == [{**ROWS[1], "upper": "B"}]
    assert rows.skip(2).add_column("n", [7, 8]).to_list() == [{**ROWS[2], "n": 7}, {**ROWS[3], "n": 8}]


def test_filter_sort_unique_and_concatenate(rows):
    assert rows.filter(lambda row: row["label"])["text"] == ["가나", "d"]
    assert rows.filter(lambda text, i: i % 2, True, "text").to_list() == [ROWS[1], ROWS[3]]
    assert rows.filter(lambda batch: np.array(batch["label"]) == 1, batched=True)["text"] == ["가나", "d"]
    assert rows.sort("label")["label"] == [0, 1, 1, None]
    assert rows.sort(["label", "text"], reverse=[True, False])["text"] == ["d", "가나", "b", ""]
    assert rows.unique("label") == [1, 0, None]
    assert concatenate_datasets([rows, rows.select([2])]).to_list() == [*ROWS, ROWS[2]]
    assert [len(piece["text"]) for piece in rows.iter(3)] == [3, 1]


def test_a_stratified_split_keeps_each_share_and_every_row_once():
    labels = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    rows = Dataset.from_dict({"n": range(100), "label": labels})
    for seed in range(5):
        parts = rows.train_test_split(0.2, stratify_by_column="label", seed=seed)
        assert [parts["test"]["label"].count(name) for name in "abc"] == [12, 6, 2]
        assert sorted(parts["train"]["n"] + parts["test"]["n"]) == list(range(100))
        assert all(labels[n] == label for n, label in zip(parts["test"]["n"], parts["test"]["label"]))
        again = rows.train_test_split(0.2, stratify_by_column="label", seed=seed)
        assert again["test"]["n"] == parts["test"]["n"]
    assert rows.train_test_split(test_size=10, shuffle=False)["test"]["n"] == list(range(90, 100))


def test_formats_give_tensors_and_leave_what_cannot_be_one():
    rows = Dataset.from_dict(
        {"x": [1.5, 2.0], "ids": [[1, 2], [3, 4]], "short": [[1], [2, 3]], "text": ["a", "b"]}
    )
    tensors = rows.with_format("torch")
    assert torch.equal(tensors[0:2]["ids"], torch.tensor([[1, 2], [3, 4]]))
    assert (tensors["x"].dtype, tensors[0]["ids"].dtype) == (torch.float32, torch.int64)
    assert [len(row) for row in tensors["short"]] == [1, 2]
    assert tensors[0]["text"] == "a"
    assert list(rows.with_format("numpy", ["ids"])[0]) == ["ids"]
    assert rows[0]["ids"] == [1, 2], "the first one stays plain"
    gaps = Dataset.from_dict({"n": [1, None], "yes": [True, None], "x": [1.0, None]}).with_format("torch")
    assert gaps["n"][1] is gaps["yes"][1] is None
    assert gaps[1]["x"].isnan()
    assert gaps["x"].isnan().tolist() == [False, True]
    assert Dataset.from_dict({"n": [2**70, 1]}).with_format("torch")[0]["n"] == 2**70
    rows.set_format("torch", columns=["ids"])
    assert list(rows.rename_column("ids", "input_ids")[1]) == ["input_ids"]
    rows.reset_format()
    assert rows[0]["x"] == 1.5
    loader = torch.utils.data.DataLoader(tensors.select_columns("ids"), batch_size=2)
    assert torch.equal(next(iter(loader))["ids"], torch.tensor([[1, 2], [3, 4]]))


def test_splits_share_their_verbs(rows):
    parts = DatasetDict({"train": rows}, test=rows.select([0]))
    assert parts.map(lambda row: {"n": 1}).column_names["test"] == ["text", "label", "ids", "n"]
    assert parts.filter(lambda row: row["label"]).num_rows == {"train": 2, "test": 1}
    parts.set_format("torch")
    assert parts["test"][0]["ids"].tolist() == [1, 2]
    with pytest.raises(KeyError, match="no split is named 'dev'; there are train, test"):
        parts["dev"]
    with pytest.raises(AttributeError, match="take a split first"):
        parts.take(1)
    with pytest.raises(ValueError, match="split 'train' must be a Dataset"):
        DatasetDict({"train": ROWS})
    assert pickle.loads(pickle.dumps(parts))["train"]["text"] == COLUMNS["text"]


def test_csv_and_json_both_ways(rows, tmp_path):
    plain = rows.remove_columns("ids").map(lambda row, i: {"share": i / 3, "yes": i > 1, "n": i - 1}, True)
    back = Dataset.from_csv(plain.to_csv(tmp_path / "a.csv"))
    assert back.to_list() == plain.map(lambda row: {"text": row["text"] or None}).to_list()
    assert back.features == plain.features
    assert Dataset.from_json(rows.to_json(tmp_path / "a.jsonl")).to_list() == ROWS
    assert "가나" in (tmp_path / "a.jsonl").read_text(encoding="utf-8")
    (tmp_path / "b.json").write_text(json.dumps({"data": ROWS}))
    (tmp_path / "c.json").write_text(json.dumps(ROWS, indent=1))
    assert Dataset.from_json(tmp_path / "b.json", field="data").to_list() == ROWS
    assert Dataset.from_json([tmp_path / "c.json", tmp_path / "a.jsonl"]).to_list() == ROWS * 2


def test_csv_types_are_guessed_from_every_field_and_can_be_given(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('code,n,x,yes,text\n010,1,1,True,"NA, 1"\n02,,2.5,False,null\n', encoding="utf-8")
    rows = Dataset.from_csv(path)
    assert rows[0] == {"code": "010", "n": 1, "x": 1.0, "yes": True, "text": "NA, 1"}
    assert rows["n"] == [1, None]
    assert rows["text"][1] == "null"
    assert Dataset.from_csv(path, features={"code": "int64", "n": "string"})[0]["code"] == 10
    path.write_text('1\t"a\n2\tb\n', encoding="utf-8")
    tabs = Dataset.from_csv(path, delimiter="\t", column_names=["id", "document"], quoting=csv.QUOTE_NONE)
    assert tabs["document"] == ['"a', "b"]
    with pytest.raises(BadFileError, match="'id' of row 1 must be bool, got '1'"):
        Dataset.from_csv(path, delimiter="\t", column_names=["id", "x"], features={"id": "bool"}, quoting=3)


def test_a_number_too_long_for_an_integer_keeps_its_digits(tmp_path):
    """19 digits are usual for ids, and a float holds 15 of them."""
    path = tmp_path / "ids.csv"
    path.write_text("id,order\n1234567890123456789,20251130000000001234\n-9223372036854775808,7\n")
    rows = Dataset.from_csv(path)
    assert rows.features == {"id": "int64", "order": "string"}
    assert rows["id"] == [1234567890123456789, -(2**63)]
    assert rows["order"] == ["20251130000000001234", "7"]


def test_numbers_that_only_look_like_lists_are_refused():
    with pytest.raises(ValueError, match="column 'a' must be a list of values"):
        Dataset.from_dict({"a": np.array(3)})
    with pytest.raises(ValueError, match="rows must be a list of dicts"):
        Dataset.from_list(np.array(3))
    for call in (
        lambda: split_rows(4, 3, 2, 0),
        lambda: split_rows(4, -1, 2, 0),
        lambda: split_rows(4, 2, 2, -1),
    ):
        with pytest.raises(ValueError, match="must be at least"):
            call()


def test_a_csv_file_of_an_older_korean_program(rows, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("제목,값\n똠방각하,010\n".encode("cp949"))
    assert Dataset.from_csv(path, encoding="cp949").to_list() == [{"제목": "똠방각하", "값": "010"}]
    with pytest.raises(BadFileError, match=r'a\.csv.* is not UTF-8 text.*encoding="cp949"'):
        Dataset.from_csv(path)
    with pytest.raises(BadFileError, match=r"a\.csv.* is not ascii text"):
        Dataset.from_csv(path, encoding="ascii")
    for encoding in ("cp94", 5, "", "\0"):
        with pytest.raises(ValueError, match="encoding must be the name of one"):
            Dataset.from_csv(path, encoding=encoding)
    path.write_bytes(b"\xef\xbb\xbf" + '[{"제목": "가"}]'.encode())  # a byte order mark in front
    assert Dataset.from_json(path)["제목"] == ["가"]
    path.write_bytes('{"제목": "똠"}\n'.encode("cp949"))
    assert Dataset.from_json(path, encoding="cp949")["제목"] == ["똠"]


def test_a_csv_file_without_rows_or_with_long_fields(tmp_path):
    path, more = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_text("text,n\n", encoding="utf-8")
    more.write_text("n,other\n1,x\n", encoding="utf-8")
    assert Dataset.from_csv(path).column_names == ["text", "n"]
    assert Dataset.from_csv(path).map(lambda row: {"m": 1}).num_rows == 0
    assert Dataset.from_csv([path, more]).to_list() == [{"text": None, "n": 1, "other": "x"}]
    with pytest.raises(ValueError, match=r"features must name columns \(text, n\)"):
        Dataset.from_csv(path, features={"txt": "string"})
    limit = csv.field_size_limit()
    path.write_text("text\n" + "가" * (limit + 1) + "\n", encoding="utf-8")
    assert len(Dataset.from_csv(path)["text"][0]) == limit + 1
    assert csv.field_size_limit() == limit


def test_pieces_of_a_split(tmp_path):
    path = Dataset.from_dict({"n": list(range(10))}).to_json(tmp_path / "a.jsonl")
    pieces = {
        "train[:25%]": [0, 1], "train[25%:]": [2, 3, 4, 5, 6, 7, 8, 9], "train[-2:]": [8, 9], "train[8:99]": [8, 9],
        "train[:1] + train[-10%:]": [0, 9], "train[5:2]": [],
    }  # fmt: skip
    for split, numbers in pieces.items():
        assert load_dataset("json", data_files=path, split=split)["n"] == numbers
    for split in ("train[10%:5]", "train[:101%]", "train[:10]%", "train[1]", "+", "train[:1"):
        with pytest.raises(ValueError, match=r"split must be a name|both rows or both shares|100 % at most"):
            load_dataset("json", data_files=path, split=split)
    with pytest.raises(ValueError, match="split must be one of 'train', got 'test'"):
        load_dataset("json", data_files=path, split="test[:1]")


def test_without_a_seed_the_order_is_another_each_time():
    rows = Dataset.from_dict({"n": list(range(64))})
    orders = {tuple(rows.shuffle(seed=None)["n"]) for _ in range(4)}
    splits = {tuple(rows.train_test_split(0.5, seed=None)["test"]["n"]) for _ in range(4)}
    assert len(orders) == len(splits) == 4
    assert {tuple(sorted(order)) for order in orders} == {tuple(range(64))}


def test_load_dataset_opens_own_files_by_split(rows, tmp_path):
    path = rows.to_json(tmp_path / "a.json")
    assert load_dataset("json", data_files=path)["train"].to_list() == ROWS
    assert load_dataset("json", data_files=[path, path], split="train").num_rows == 8
    both = load_dataset("json", data_files={"train": path, "test": [path]})
    assert both.num_rows == {"train": 4, "test": 4}
    with pytest.raises(ValueError, match="split must be one of 'train', got 'test'"):
        load_dataset("json", data_files=path, split="test")
    with pytest.raises(ValueError, match="needs data_files"):
        load_dataset("csv", split="train")
    with pytest.raises(ValueError, match=r"data_files goes with the names 'csv', .*got the name 'nsmc'"):
        load_dataset("nsmc", "train", data_files=path)


def test_a_cut_file_is_refused_by_name(rows, tmp_path):
    path = rows.to_json(tmp_path / "a.json")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BadFileError, match=r"a\.json.*line 4"):
        Dataset.from_json(path)
    path.write_text("a,b\n1\n")
    with pytest.raises(BadFileError, match=r"a\.json.*row 1 has 1 fields, expected 2"):
        Dataset.from_csv(path)
    path.write_text("a,a\n1,2\n")
    with pytest.raises(BadFileError, match=r"a\.json.*two columns have one name: a, a"):
        Dataset.from_csv(path)
    with pytest.raises(BadFileError, match=r"no\.csv"):
        Dataset.from_csv(tmp_path / "no.csv")


def test_training_takes_a_dataset():
    rows = Dataset.from_dict(
        {"input_ids": [[1, 2, 3], [4]], "labels": [1, 0], "token_type_ids": [[0, 0, 1], [0]]}
    )
    batch = next(LabelledSet(rows).eval_batches(2, 3))
    assert batch["input_ids"].tolist() == [[1, 2, 3], [4, 0, 0]]
    assert batch["labels"].tolist() == [1, 0]
    assert batch["token_type_ids"].tolist() == [[0, 0, 1], [0, 0, 0]]
    pairs = Dataset.from_dict({"input_ids": [[1, 2]], "labels": [[3]]})
    assert next(PairSet(pairs).eval_batches(1, 3))["labels"].tolist() == [[3]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rows: Dataset.from_dict({"a": [1, "x"]}), "one kind, but row 1 makes it int64 and string"),
        (lambda rows: Dataset.from_dict({"a": [[1], 2]}), "row 1 makes it a list and int64: 2"),
        (lambda rows: Dataset.from_dict({"a": [1], "b": []}), "one length, got {'a': 1, 'b': 0}"),
        (lambda rows: Dataset.from_dict({"a": "text"}), "'a' must be a list of values, got 'text'"),
        (lambda rows: Dataset.from_dict({"a": [{1, 2}]}), "a value must be text, a number, a list or a dict"),
        (lambda rows: Dataset.from_dict({1: [1]}), "the name of a column must be a str, got 1"),
        (lambda rows: Dataset.from_dict([1]), "a dict of columns, got"),
        (lambda rows: Dataset.from_list([{"a": 1}, 2]), "row 1 must be a dict, got 2"),
        (lambda rows: Dataset.from_list({"a": [1]}), "rows must be a list of dicts"),
        (lambda rows: rows["txt"], "no column is named 'txt'; there are text, label, ids"),
        (lambda rows: rows[1.5], "the number of a row must be an integer, got 1.5"),
        (lambda rows: rows[True], "the number of a row must be an integer, got True"),
        (lambda rows: rows.map(5), "function must be a function of a row, got 5"),
        (lambda rows: rows.map(lambda row: 5), "must give a dict or None, got 5"),
        (lambda rows: rows.map(lambda row: {row["text"]: 1}), "gave the columns '가나' for row 0 and the columns 'b'"),
        (lambda rows: rows.map(lambda row: {"n": 1} if row["text"] else None), "for row 0 and None for row 2"),
        (lambda rows: rows.map(lambda b: {"n": [1]}, batched=True), "remove_columns"),
        (lambda rows: rows.map(lambda b: {"n": "text"}, batched=True), "must give lists; column 'n' came as 'text'"),
        (lambda rows: rows.map(len, batched=True, batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda rows: rows.map(len, num_proc=0), "num_proc must be at least 1, got 0"),
        (lambda rows: rows.filter(len, desc=5), "desc must be a text, got 5"),
        (lambda rows: rows.map(len, remove_columns="x"), "no column is named 'x'"),
        (lambda rows: rows.filter(lambda b: [True], batched=True), "must give 4 answers, one a row"),
        (lambda rows: rows.select("abc"), "indices must be the numbers of rows"),
        (lambda rows: rows.shuffle(seed=-1), "seed must be at least 0, got -1"),
        (lambda rows: rows.sort("ids"), "holds .* has no order"),
        (lambda rows: rows.unique("ids"), "has no list of different values"),
        (lambda rows: rows.train_test_split(1.5), "test_size as a share must lie between 0 and 1, got 1.5"),
        (lambda rows: rows.train_test_split(4), "4 rows cannot give 0 to train and 4 to test"),
        (lambda rows: rows.train_test_split(stratify_by_column="text"), "each class needs two rows"),
        (lambda rows: rows.add_column("ids", [1]), "there is a column 'ids' already"),
        (lambda rows: rows.add_column("n", [1]), "must have 4 values, one a row, got 1"),
        (lambda rows: rows.rename_column("ids", "text"), "the new names must be different names"),
        (lambda rows: rows.with_format("tf"), "type must be one of"),
        (lambda rows: concatenate_datasets([rows, rows.remove_columns("ids")]), "Dataset 1 has the columns"),
        (lambda rows: concatenate_datasets(rows), "must be a list of Datasets"),
        (lambda rows: rows.to_csv("never.csv"), "'ids' of row 0 is .*use to_json"),
        (lambda rows: Dataset.from_csv([]), "a path or a list of paths must be given"),
        (lambda rows: Dataset.from_dict({"a": [datetime.date.min]}).to_json("never.json"), "to_json cannot write"),
    ],
)  # fmt: skip
def test_errors_say_what_came(rows, call, message):
    with pytest.raises(ValueError, match=message):
        call(rows)
    assert rows.to_dict() == COLUMNS


def test_a_row_out_of_range_ends_a_loop(rows):
    with pytest.raises(IndexError, match="row 4 of a Dataset of 4 rows"):
        rows[4]
    assert Dataset().to_list() == Dataset.from_list([]).to_list() == []
    assert ROWS[1] in rows


def test_without_the_extra_one_line_says_what_to_install(rows, tmp_path, monkeypatch):
    for name in ("pyarrow", "pyarrow.parquet", "pandas"):
        monkeypatch.setitem(sys.modules, name, None)
    for call in (lambda: rows.to_parquet(tmp_path / "a"), lambda: Dataset.from_parquet(tmp_path / "a")):
        with pytest.raises(ImportError, match=r"parquet files need pyarrow: pip install -e '\.\[tables\]'"):
            call()
    with pytest.raises(ImportError, match=r"DataFrames need pandas: pip install -e '\.\[tables\]'"):
        rows.to_pandas()
    assert not list(tmp_path.iterdir())


def test_text_files_are_rows_of_lines(tmp_path):
    path = tmp_path / "글.txt"
    path.write_bytes("첫 줄\r\nb\x0bc\n\n\nlast".encode())
    read = {"line": ["첫 줄", "b\x0bc", "", "", "last"], "paragraph": ["첫 줄\nb\x0bc", "\nlast"],
            "document": ["첫 줄\nb\x0bc\n\n\nlast"]}  # fmt: skip
    for by, texts in read.items():
        assert load_dataset("text", data_files=str(path), sample_by=by)["train"].to_dict() == {"text": texts}
    kept = Dataset.from_text(path, keep_linebreaks=True)
    assert kept["text"] == ["첫 줄\n", "b\x0bc\n", "\n", "\n", "last"]
    path.write_bytes("안\n".encode("cp949"))
    assert Dataset.from_text(path, encoding="cp949")["text"] == ["안"]


def test_several_files_by_one_pattern_and_several_splits_at_once(tmp_path):
    for name in "ba":
        Dataset.from_dict({"n": [name]}).to_csv(tmp_path / f"{name}.csv")
    assert Dataset.from_csv(tmp_path / "*.csv")["n"] == ["a", "b"]
    files = {"train": str(tmp_path / "[a].csv"), "test": tmp_path / "b.csv"}
    train, both = load_dataset("csv", data_files=files, split=["train", "train+test"])
    assert (train["n"], both["n"]) == (["a"], ["a", "b"])
    with pytest.raises(BadFileError, match=r"c\*\.csv.*there are none"):
        Dataset.from_csv(tmp_path / "c*.csv")


@pytest.mark.parametrize(("kind", "name", "message"), [
    ("csv", "sep", "csv files are read without 'sep'; its name here is delimiter"),
    ("json", "streaming", "json files are read without 'streaming'; options are field, encoding"),
    ("parquet", "batch_size", "parquet files are read without 'batch_size'; options are columns"),
    ("text", "lines", "text files are read without 'lines'; options are encoding, keep_linebreaks, sample_by"),
])  # fmt: skip
def test_an_option_that_no_reader_has_is_refused_by_name(kind, name, message):
    with pytest.raises(ValueError, match=message):
        load_dataset(kind, data_files="a", **{name: 1})


def test_what_a_file_is_written_like(tmp_path):
    rows = Dataset.from_dict({"text": ["가", None], "n": [1, 2]})
    ascii_only = rows.to_json(tmp_path / "a.json", lines=False, force_ascii=True)
    assert ascii_only.read_text() == '[{"text": "\\uac00", "n": 1},{"text": null, "n": 2}]\n'
    assert Dataset.from_json(ascii_only).to_list() == rows.to_list()
    assert rows.to_json(tmp_path / "b.json", force_ascii=False).read_text("utf-8").startswith('{"text": "가"')
    tabs = rows.to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    assert tabs.read_text("utf-8") == "text\tn\n가\t1\n\t2\n"
    with pytest.raises(ValueError, match="index must be False"):
        rows.to_csv(tmp_path / "b.csv", index=True)
    assert not (tmp_path / "b.csv").exists()


def test_the_index_of_a_frame_is_a_column_if_one_wants_it():
    pandas = pytest.importorskip("pandas", reason="DataFrames: pip install -e '.[tables]'")
    frame = pandas.DataFrame({"n": [1, 2, 3, 4]})
    some = frame[frame.n != 2]
    assert Dataset.from_pandas(some).column_names == ["n", "__index_level_0__"]
    assert Dataset.from_pandas(some, preserve_index=False).to_dict() == {"n": [1, 3, 4]}
    assert Dataset.from_pandas(frame, preserve_index=True)["__index_level_0__"] == [0, 1, 2, 3]
    assert Dataset.from_pandas(frame).column_names == ["n"]


def test_whole_numbers_among_numbers_are_numbers(tmp_path):
    rows = Dataset.from_dict({"x": [1, 0.5, None]})
    assert repr(rows["x"]) == "[1.0, 0.5, None]"
    assert repr(rows.map(lambda row: {"x": 2 if row["x"] == 1 else row["x"]})["x"]) == "[2.0, 0.5, None]"


def test_shards_are_the_rows_in_parts_of_about_one_size():
    rows = Dataset.from_dict({"n": list(range(7))}).select(range(6, -1, -1))
    assert [rows.shard(3, part)["n"] for part in range(3)] == [[6, 5, 4], [3, 2], [1, 0]]
    assert [rows.shard(3, part, contiguous=False)["n"] for part in range(3)] == [[6, 3, 0], [5, 2], [4, 1]]
    assert rows.take(1).shard(2, 1).to_list() == []
    with pytest.raises(ValueError, match="index must be between 0 and 2, got 3"):
        rows.shard(3, 3)


def test_an_order_is_not_checked_number_by_number(monkeypatch):
    """A shuffle of 200,000 rows took seconds: each number of a row that numpy had drawn was looked at."""
    rows, calls = Dataset.from_dict({"n": list(range(500))}), []
    check = dataset.check_int
    monkeypatch.setattr(dataset, "check_int", lambda *given: calls.append(given) or check(*given))
    parts = rows.shuffle(3).sort("n", reverse=True).train_test_split(0.2, shuffle=False)
    assert (parts["train"]["n"], parts["test"]["n"]) == (list(range(499, 99, -1)), list(range(99, -1, -1)))
    assert len(calls) < 50
