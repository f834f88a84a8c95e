"""Each format, whole and broken."""

import csv
import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm._files import BadFileError
from minillm.data.readers import read_idx, read_source, read_text
from tests.helpers import cuts, soak_count


def read(path, kind, **options):
    return read_source([path], kind, {"add": [{}], **options})


def write(path, content):
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_tables_texts_and_lists(tmp_path, suffix):
    def file(name, content):
        return write(tmp_path / (name + suffix), content)

    assert read(file("a.json", '[{"a": "값"}]'), "json") == [{"a": "값"}]
    assert read(file("a.jsonl", '{"a": 1}\n\n{"a": 2}'), "jsonl") == [{"a": 1}, {"a": 2}]
    assert read(file("a.csv", 'Q,A\n"한, 줄",2\n'), "csv", types={"A": "int"}) == [{"Q": "한, 줄", "A": 2}]
    assert read(file("b.csv", "x,0.5\r\n"), "csv", columns=["t", "s"], types={"s": "float"}) == [
        {"t": "x", "s": 0.5}
    ]
    assert read(file("a.tsv", 'id\tt\r\n1\ta "quote\r\n'), "tsv") == [{"id": "1", "t": 'a "quote'}]
    assert read(file("a.txt", "\ufeff한 줄\n\n두 줄\n"), "lines") == [{"text": "한 줄"}, {"text": "두 줄"}]
    assert read(file("b.txt", "글 하나\n"), "text") == "글 하나\n"
    assert read(file("s.txt", "one\n<|endoftext|>\ntwo"), "stories") == [{"text": "one"}, {"text": "two"}]
    squad = {"data": [{"title": "T", "paragraphs": [{"context": "답이 있다", "qas": [
        {"id": "q1", "question": "무엇?", "answers": [{"text": "답", "answer_start": 0}]}]}]}]}  # fmt: skip
    (row,) = read(file("q.json", json.dumps(squad)), "squad")
    assert row["answers"] == {"answer_start": [0], "text": ["답"]}
    assert (row["id"], row["title"], row["context"]) == ("q1", "T", "답이 있다")


def test_rows_can_be_chosen_and_marked(tmp_path):
    one = write(tmp_path / "1.jsonl", '{"s": "train"}\n{"s": "dev"}')
    two = write(tmp_path / "2.jsonl", '{"s": "dev"}')
    rows = read_source([one, two], "jsonl", {"where": {"s": "dev"}, "add": [{"from": 1}, {"from": 2}]})
    assert rows == [{"s": "dev", "from": 1}, {"s": "dev", "from": 2}]


@settings(max_examples=soak_count(1200))
@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text("ab\",'\n\r 가")),
        min_size=1,
        max_size=8,
    )
)
def test_csv_equals_what_the_csv_writer_wrote(tmp_path_factory, rows):
    rows = [row for row in rows if row[0] != "\ufeff" and "\0" not in row[0]] or [("a", "b")]
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("x", "y"), *rows])
    assert [(row["x"], row["y"]) for row in read(path, "csv")] == rows


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("json", "{}"), ("json", '[{"a"'), ("jsonl", '{"a": 1}\n{"a"'), ("csv", 'a,b\n"open,1'), ("csv", "a,b\n1"),
        ("tsv", "a\tb\n1\t2\t3"), ("squad", "[]"), ("squad", '{"data": [{}]}'), ("squad", '{"data": 3}'),
        ("lines", b"\xff\xfe"), ("text", b"\xc7\xd1"), ("idx", "not idx"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_by_name(tmp_path, kind, content):
    path = write(tmp_path / "broken.file", content)
    with pytest.raises(BadFileError, match=r"broken\.file"):
        read_source([path, path], kind, {"add": [{}, {}]})


def test_a_value_of_another_type_is_refused(tmp_path):
    path = write(tmp_path / "t.tsv", "a\tlabel\nx\tone")
    with pytest.raises(BadFileError, match="row 1"):
        read(path, "tsv", types={"label": "int"})


def test_a_gzip_file_cut_anywhere_is_refused(tmp_path):
    path = write(tmp_path / "t.jsonl.gz", '{"text": "한국어 문장입니다"}\n' * 20)
    whole = path.read_bytes()
    for length in cuts(whole):
        path.write_bytes(whole[:length])
        with pytest.raises(BadFileError, match=r"t\.jsonl\.gz"):
            read_text(path)


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def test_idx_equals_the_array_and_every_cut_is_refused(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8)
    images, labels = (
        write(tmp_path / "i", idx(pixels)),
        write(tmp_path / "l", idx(np.arange(3, dtype=np.uint8))),
    )
    found = read_source([images, labels], "idx", {})
    assert found["images"].dtype == np.uint8
    np.testing.assert_array_equal(found["images"], pixels)
    np.testing.assert_array_equal(found["labels"], [0, 1, 2])
    found["images"][0] = 0  # a copy of one's own, not a view of read-only bytes
    whole = images.read_bytes()
    for length in cuts(whole):
        images.write_bytes(whole[:length])
        with pytest.raises(BadFileError, match="damaged"):
            read_idx(images)
    images.write_bytes(whole + b"\0")
    with pytest.raises(BadFileError, match="61 values"):
        read_idx(images)


def test_labels_must_match_images(tmp_path):
    images = write(tmp_path / "i", idx(np.zeros((3, 2, 2), np.uint8)))
    labels = write(tmp_path / "l", idx(np.zeros(2, np.uint8)))
    with pytest.raises(BadFileError, match="2 labels for 3 images"):
        read_source([images, labels], "idx", {})


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadFileError, match="cannot be read"):
        read(tmp_path / "missing.json", "json")
