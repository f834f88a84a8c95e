"""Files are written whole or not at all, and read whole or refused by name."""

import os
import stat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from minillm._files import (
    BadFileError,
    load_arrays,
    map_arrays,
    read_json,
    replace_whole,
    save_arrays,
    verify_checksums,
    write_checksums,
    write_json,
    write_whole,
)
from minillm.search import BM25
from tests.helpers import soak_count


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = write_whole(tmp_path / "model.bin", b"old")

    def stopped(temporary):
        temporary.write_bytes(b"half of the n")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_whole(target, stopped)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.bin"]


def test_written_files_have_ordinary_permissions_and_exact_bytes(tmp_path):
    path = write_whole(tmp_path / "new" / "한글.txt", "첫 줄\r\n둘째 줄\n")
    assert path.read_bytes() == "첫 줄\r\n둘째 줄\n".encode()
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_json_cut_at_any_byte_is_refused_by_name(tmp_path):
    path = write_json(tmp_path / "config.json", {"이름": "작은 모델", "layers": [1, 2, 3]})
    data = path.read_bytes()
    assert read_json(path)["이름"] == "작은 모델"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(BadFileError, match=r"config\.json"):
            read_json(path, "model config")


def test_text_that_is_no_unicode_is_refused_in_plain_words_and_nothing_is_left(tmp_path):
    for write in (
        lambda path: write_whole(path, "a\ud800b"),
        lambda path: write_json(path, ["a\ud800b"]),
        lambda path: save_arrays(path, "test", {"a": np.zeros(1)}, ["a\ud800b"]),
        lambda path: BM25(tokenizer=str.split).fit(["a\ud800b c"]).save(path),
    ):
        with pytest.raises(ValueError, match=r"one' cannot be written: its text holds half a surrogate pair"):
            write(tmp_path / "one")
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_be_made_is_named_and_not_its_draft(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "taken", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(OSError) as error:
            write_whole(path, b"new")
        assert str(error.value.filename) in (str(path), str(path.parent))
    assert sorted(os.listdir(tmp_path)) == ["file", "taken"]


def test_checksums_are_those_of_sha256sum_and_name_the_file_that_differs(tmp_path):
    write_json(tmp_path / "config.json", {"이름": 1})
    (tmp_path / "dense").mkdir()
    write_whole(tmp_path / "dense" / "ids.json", b"abc")
    verify_checksums(tmp_path)  # a folder without checksums passes
    write_checksums(tmp_path, ["config.json"])
    write_checksums(tmp_path, ["dense/ids.json", "not there"])
    sums = read_json(tmp_path / "checksums.json")
    assert set(sums) == {"config.json", "dense/ids.json"}
    # published: FIPS 180-4's example of one block
    assert sums["dense/ids.json"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    verify_checksums(tmp_path)
    write_whole(tmp_path / "other.json", b"new")  # nobody listed it
    verify_checksums(tmp_path)
    write_whole(tmp_path / "dense" / "ids.json", b"abd")
    with pytest.raises(
        BadFileError, match=r"ids\.json' is damaged or was changed .* delete .*checksums\.json"
    ):
        verify_checksums(tmp_path)
    (tmp_path / "dense" / "ids.json").unlink()
    with pytest.raises(BadFileError, match=r"ids\.json' cannot be read"):
        verify_checksums(tmp_path)
    write_checksums(tmp_path, ["config.json"])  # what is gone is forgotten
    verify_checksums(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "5",
        '{"config.json": 5}',
        '{"../x": "0"}',
        '{"/etc/passwd": "0"}',
        '{"": "0"}',
        '{"C:x": "0"}',
        "{",
    ],
)
def test_a_list_of_checksums_that_is_none_is_refused_by_name_and_written_anew(tmp_path, content):
    write_json(tmp_path / "config.json", {})
    (tmp_path / "checksums.json").write_text(content)
    with pytest.raises(BadFileError, match=r"checksums\.json"):
        verify_checksums(tmp_path)
    write_checksums(tmp_path, ["config.json"])
    verify_checksums(tmp_path)


def test_arrays_cut_or_with_a_flipped_bit_are_refused_by_name(tmp_path):
    arrays = {
        "a": np.arange(6, dtype=np.int64).reshape(2, 3),
        "b": np.float32([0.5]),
        "none": np.zeros((0, 4), np.uint8),
    }
    path = save_arrays(tmp_path / "x.index", "test index", arrays, {"k1": 1.2, "단어": ["가"]})
    data = path.read_bytes()
    loaded, meta = load_arrays(path, "test index")
    assert meta == {"k1": 1.2, "단어": ["가"]}
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)
    with pytest.raises(BadFileError, match=r"holds a test index, expected a bm25 index"):
        load_arrays(path, "bm25 index")
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(BadFileError, match=r"x\.index"):
            load_arrays(path, "test index")
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(BadFileError, match=r"x\.index"):
            load_arrays(path, "test index")


@settings(max_examples=soak_count(1000))
@given(
    array=arrays_of.arrays(
        st.sampled_from([np.float32, np.int32, np.uint8, np.int64, np.bool_]),
        arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
    )
)
def test_arrays_of_any_shape_come_back_as_they_were(tmp_path_factory, array):
    path = save_arrays(tmp_path_factory.mktemp("arrays") / "one", "test", {"array": array})
    (loaded, _) = load_arrays(path, "test")
    assert loaded["array"].shape == array.shape
    np.testing.assert_array_equal(loaded["array"], array)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadFileError, match=r"bm25 index 'nowhere\.index' cannot be read: No such file"):
        load_arrays("nowhere.index", "bm25 index")


def test_mapped_arrays_are_the_loaded_ones_and_leave_the_file_alone(tmp_path):
    kinds = ("uint8", "int32", "uint32", "int64", "float16", "float32", "float64", "bool")
    arrays = {kind: np.arange(6).reshape(2, 3).astype(kind) for kind in kinds}
    arrays["empty"], arrays["0-d"] = np.empty((0, 4), np.float32), np.array(7)
    path = save_arrays(tmp_path / "one", "test", arrays, {"단어": [1, None]})
    whole = path.read_bytes()
    mapped, meta = map_arrays(path, "test")
    loaded, loaded_meta = load_arrays(path, "test")
    assert meta == loaded_meta == {"단어": [1, None]}
    assert set(mapped) == set(loaded) == set(arrays)
    for name, array in mapped.items():
        assert (array.dtype, array.shape) == (arrays[name].dtype, arrays[name].shape)
        assert array.tolist() == loaded[name].tolist() == arrays[name].tolist()
    mapped["int64"][0, 0] = 99  # in memory alone
    assert path.read_bytes() == whole
    assert map_arrays(path, "test")[0]["int64"][0, 0] == 0


def test_mapped_files_that_are_cut_damaged_or_of_another_kind_are_refused(tmp_path):
    path = save_arrays(tmp_path / "one", "test", {"a": np.arange(50), "b": np.ones(3, np.float32)})
    data = path.read_bytes()
    with pytest.raises(BadFileError, match="it holds a test, expected a BM25 index"):
        map_arrays(path, "BM25 index")
    for broken in [data[:length] for length in (0, 1, 7, 8, 60, len(data) - 1)] + [data + b"\0"]:
        path.write_bytes(broken)
        with pytest.raises(BadFileError, match="one"):
            map_arrays(path, "test")
    for place in range(0, len(data), 11):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(BadFileError, match="one"):
            map_arrays(path, "test")
    with pytest.raises(BadFileError, match="nowhere"):
        map_arrays(tmp_path / "nowhere", "test")
