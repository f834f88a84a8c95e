"""The GGUF container on its own: what is written comes back, and a file that lies is refused by its name."""

import re
import struct

import numpy as np
import pytest

from minillm._files import BadFileError
from minillm.data.gguf import ALIGNMENT, MAGIC, read_gguf, write_gguf
from minillm.data.gguf_blocks import TYPES, dequantize, quantize

METADATA = {
    "general.architecture": "test",
    "a.count": 3,
    "a.below": -5,
    "a.large": 1 << 40,
    "a.flag": True,
    "a.share": 0.25,
    "a.words": ["한국어", "", "b c"],
    "a.ids": [1, -2, 3],
    "a.scores": [0.5, -1.5],
    "a.wide": np.float64(0.1),
    "a.bytes": np.arange(5, dtype=np.uint8),
}


def weights(rows=3, width=64, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


@pytest.fixture
def file(tmp_path):
    tensors = {"one.weight": weights(), "two.weight": weights(2, 32, 1), "norm": weights(1, 5, 2)[0]}
    return write_gguf(tmp_path / "x.gguf", METADATA, tensors, {"one.weight": "Q4_0", "two.weight": "F16"})


def test_metadata_and_tensors_come_back(file):
    found = read_gguf(file)
    assert found.version == 3
    for name, value in METADATA.items():
        got = found.metadata[name]
        if isinstance(got, np.ndarray):
            assert got.tolist() == list(value)
        else:
            assert got == value
            assert type(got) is not np.float64
    assert {name: (t.shape, t.type) for name, t in found.tensors.items()} == {
        "one.weight": ((3, 64), "Q4_0"), "two.weight": ((2, 32), "F16"), "norm": ((5,), "F32"),
    }  # fmt: skip
    assert all(t.start % ALIGNMENT == 0 for t in found.tensors.values())
    np.testing.assert_array_equal(found.read("norm"), weights(1, 5, 2)[0])
    np.testing.assert_array_equal(found.read("two.weight"), weights(2, 32, 1).astype(np.float16))


def test_a_block_by_hand():
    # d = 0.5, the low halves of the bytes are weights 0-15, the high ones 16-31
    nibbles = bytes(i | (15 - i) << 4 for i in range(16))
    block = np.frombuffer(np.float16(0.5).tobytes() + nibbles, np.uint8)
    expected = [0.5 * (i - 8) for i in range(16)] + [0.5 * (7 - i) for i in range(16)]
    np.testing.assert_array_equal(dequantize(block, "Q4_0"), expected)
    block = np.frombuffer(np.float16([0.5, -1]).tobytes() + nibbles, np.uint8)
    expected = [0.5 * i - 1 for i in range(16)] + [0.5 * (15 - i) - 1 for i in range(16)]
    np.testing.assert_array_equal(dequantize(block, "Q4_1"), expected)


@pytest.mark.parametrize(("kind", "steps"), [("Q8_0", 127), ("Q4_0", 8), ("Q4_1", 7.5)])
def test_a_weight_moves_by_half_a_step_of_its_block_at_most(kind, steps):
    x = weights(50, 256)
    blocks = x.reshape(-1, 32)
    reach = (blocks.max(1) - blocks.min(1)) / 2 if kind == "Q4_1" else np.abs(blocks).max(1)
    moved = np.abs(dequantize(quantize(x, kind), kind).reshape(-1, 32) - blocks).max(1)
    # the scale is rounded to half precision: 2^-11 of the largest weight at most, of least and step both in Q4_1
    slack = np.abs(blocks).max(1) * 2**-9
    # Q4_0 has a step less on the side away from its farthest weight: up to one whole step is lost there
    assert (moved <= reach / steps * (1 if kind == "Q4_0" else 0.5) + slack).all()


def test_zeros_stay_zeros():
    for kind in ("F16", "Q8_0", "Q4_0", "Q4_1"):
        assert not dequantize(quantize(np.zeros((2, 32), np.float32), kind), kind).any()


@pytest.mark.parametrize("kind", TYPES)
def test_any_bytes_are_weights_in_one_piece_or_in_many(kind, monkeypatch):
    data = np.random.default_rng(1).integers(0, 128, TYPES[kind].size * 7, np.uint8)
    whole = dequantize(data, kind)
    monkeypatch.setattr("minillm.data.gguf_blocks._STEP", 2 * TYPES[kind].weights)
    np.testing.assert_array_equal(dequantize(data, kind).view(np.uint32), whole.view(np.uint32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(17, np.uint8), "Q4_0"), "whole blocks of 18 bytes"),
        ((np.zeros(18, np.int8), "Q4_0"), "must be uint8"),
        ((np.zeros(18, np.uint8), "Q4_9"), "type of weights must be one of 'F32'"),
        ((np.zeros(18, np.uint8), ["Q4_0"]), "type of weights must be one of 'F32'"),
    ],
)
def test_dequantize_says_what_it_needs(arguments, message):
    with pytest.raises(ValueError, match=message):
        dequantize(*arguments)


@pytest.mark.parametrize(
    ("array", "kind", "message"),
    [
        (np.zeros((2, 31), np.float32), "Q4_0", "rows of whole blocks of 32"),
        (np.zeros((2, 32)), "Q4_0", "float32 array"),
        (np.full((1, 32), np.nan, np.float32), "F16", "finite"),
        (np.full((1, 32), 1e6, np.float32), "F16", "half precision holds numbers up to 65504, got 1e"),
        (np.full((1, 32), 1e9, np.float32), "Q8_0", "half precision"),
        (np.zeros((2, 256), np.float32), "Q6_K", "must be one of 'F32', 'F16', 'Q4_0', 'Q4_1', 'Q8_0'"),
    ],
)
def test_quantize_says_what_it_needs(array, kind, message):
    with pytest.raises(ValueError, match=message):
        quantize(array, kind)


@pytest.mark.parametrize(
    ("metadata", "tensors", "types", "message"),
    [
        ({"a": object()}, {}, {}, "metadata 'a' must be a text, a number"),
        ({"a": []}, {}, {}, "metadata 'a'"),
        ({"a": b"x"}, {}, {}, "metadata 'a'"),
        ([("a", 1)], {}, {}, "metadata must be a dict"),
        ({}, [("t", np.zeros(3, np.float32))], {}, "tensors must be a dict"),
        ({"a": [1, "b"]}, {}, {}, "metadata 'a'"),
        ({"a": 1 << 70}, {}, {}, "metadata 'a'"),
        ({"a": "\udcff"}, {}, {}, "half a surrogate pair"),
        ({"general.alignment": 24}, {}, {}, "general.alignment must be a power of two"),
        ({}, {"t": np.zeros((2, 3))}, {}, "tensor 't' must be a float32 array"),
        ({}, {"t": np.zeros((0, 3), np.float32)}, {}, "none of them empty"),
        ({}, {"t": np.zeros((2, 3), np.float32)}, {"t": "Q8_0"}, "Q8_0 needs rows of whole blocks of 32"),
        ({}, {"t": np.zeros((2, 3), np.float32)}, {"t": "Q5_K"}, "type of 't' must be one of"),
        ({}, {"t": np.zeros((2, 3), np.float32)}, {"u": "F32"}, "types names tensors that are not there: u"),
        (
            {},
            {"t": np.full((1, 32), 1e6, np.float32)},
            {"t": "F16"},
            "tensor 't' cannot be written: half precision",
        ),
    ],
)
def test_what_cannot_be_written_leaves_the_old_file(tmp_path, metadata, tensors, types, message):
    path = tmp_path / "x.gguf"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=message):
        write_gguf(path, metadata, tensors, types)
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["x.gguf"]


# --- files that lie -----------------------------------------------------------------------------------------------


def refused(path, data, message="GGUF file .*x.gguf"):
    path.write_bytes(data)
    with pytest.raises(BadFileError, match=message) as error:
        read_gguf(path)
    assert "x.gguf" in str(error.value)
    assert len(str(error.value)) < 500


def test_a_file_cut_at_any_byte_is_refused(file):
    data = file.read_bytes()
    for length in range(len(data)):
        refused(file, data[:length])


def test_a_file_of_ours_with_a_flipped_bit_is_refused(file):
    data = file.read_bytes()
    name = data.index(b"minillm.sha256")
    for at in range(len(data)):
        if not name <= at < name + 14:  # without its name the checksum is metadata like any other
            refused(file, data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])


def entry(name, code, value):
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", code) + value


def by_hand(entries=(), tensors=(), version=3, counts=None):
    counts = counts or (len(tensors), len(entries))
    return MAGIC + struct.pack("<IQQ", version, *counts) + b"".join(entries) + b"".join(tensors)


def tensor(name="t", shape=(32,), code=0, offset=0):
    head = struct.pack("<Q", len(name)) + name.encode() + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return head + struct.pack("<IQ", code, offset)


HUGE = 2**64 - 1
LIES = {
    "empty": (b"", "it is empty"),
    "magic": (b"GGML" + bytes(60), "does not begin with GGUF"),
    "version 1": (by_hand(version=1), "of version 1, we read"),
    "version 4": (by_hand(version=4), "of version 4"),
    "big-endian": (by_hand(version=3 << 24), "it is big-endian"),
    "tensors": (by_hand(counts=(HUGE, 0)), "promises 18,446,744,073,709,551,615 tensors"),
    "entries": (by_hand(counts=(0, 1 << 40)), "promises 1,099,511,627,776 metadata entries"),
    "name": (by_hand([struct.pack("<Q", HUGE) + bytes(40)]), "bytes of a text"),
    "text": (by_hand([entry("a", 8, struct.pack("<Q", 1 << 62))]), "bytes of a text"),
    "not UTF-8": (by_hand([entry("a", 8, struct.pack("<Q", 2) + b"\xff\xfe")]), "is not UTF-8"),
    "numbers": (by_hand([entry("a", 9, struct.pack("<IQ", 6, 1 << 61))]), "values of a"),
    "texts": (by_hand([entry("a", 9, struct.pack("<IQ", 8, 1 << 61))]), "values of a"),
    "arrays": (by_hand([entry("a", 9, struct.pack("<IQ", 9, 1 << 61))]), "values of a"),
    "nested": (by_hand([entry("a", 9, struct.pack("<IQ", 9, 1) * 9000)]), "unknown type 9"),
    "flag": (by_hand([entry("a", 7, b"\2")]), "must be true or false, got 2"),
    "value type": (by_hand([entry("a", 13, bytes(8))]), "'a' has a value of unknown type 13"),
    "twice": (by_hand([entry("a", 0, b"\1"), entry("a", 0, b"\1")]), "metadata 'a' comes twice"),
    "axes": (by_hand(tensors=[tensor(shape=(2,) * 9)]), "has 9 axes"),
    "no axes": (by_hand(tensors=[tensor(shape=()) + bytes(8)]), "has 0 axes"),
    "empty tensor": (by_hand(tensors=[tensor(shape=(4, 0))]), r"has the shape \(0, 4\)"),
    "product": (by_hand(tensors=[tensor(shape=(1 << 40, 1 << 40))]), "cut short: tensor 't'"),
    "weights": (by_hand(tensors=[tensor()]), "cut short: tensor 't'"),
    "type": (by_hand(tensors=[tensor(code=99)]), "'t' is of type 99, which is not built here; we have F32"),
    "rows": (by_hand(tensors=[tensor(shape=(33,), code=2)]), "rows of 33, Q4_0 needs whole blocks of 32"),
    "offset": (by_hand(tensors=[tensor(offset=64)]), "begins at 64, expected 0"),
    "overlap": (by_hand(tensors=[tensor(), tensor("u")]) + bytes(600), "'u' begins at 0, expected 128"),
    "one name": (by_hand(tensors=[tensor(), tensor(offset=128)]) + bytes(600), "tensor 't' comes twice"),
    "alignment": (by_hand([entry("general.alignment", 4, struct.pack("<I", 0))]), "power of two, got 0"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_named(tmp_path, name):
    data, message = LIES[name]
    refused(tmp_path / "x.gguf", data, message)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadFileError, match=r"nowhere.gguf.* cannot be read: No such file"):
        read_gguf(tmp_path / "nowhere.gguf")
    with pytest.raises(BadFileError, match="cannot be read"):
        read_gguf(tmp_path)
    with pytest.raises(ValueError, match="GGUF file must be a path"):
        read_gguf(7)


def test_random_bytes_in_the_head_are_read_or_refused(file):
    # of a file without a checksum, as everybody else's
    data = bytearray(file.read_bytes().replace(b"minillm.sha256", b"another.sha256"))
    draw = np.random.default_rng(7)
    outcomes = set()
    for _ in range(300):
        broken = bytearray(data)
        for at in draw.integers(0, 700, draw.integers(1, 4)):
            broken[at] = draw.integers(256)
        file.write_bytes(broken)
        try:
            found = read_gguf(file)
        except BadFileError as error:
            outcomes.add(re.sub(r"[\d,]+|'.*?'", "", str(error)))
        else:
            outcomes.add("read")
            for name, one in found.tensors.items():
                assert found.blocks(name).size == one.size
    assert "read" in outcomes
    assert len(outcomes) > 5


def test_names_of_tensors_are_checked(file):
    found = read_gguf(file)
    for name in ("three", 3, ["one.weight"]):
        with pytest.raises((ValueError, TypeError)):
            found.read(name)
    assert not found.blocks("norm").flags.writeable
    assert found.read("norm").flags.writeable
