"""The GGUF container and its blocks against the gguf package, bit for bit."""

import gguf
import numpy as np
import pytest

from minillm.data.gguf import read_gguf, write_gguf
from minillm.data.gguf_blocks import TYPES, dequantize, quantize


def code(kind):
    return gguf.GGMLQuantizationType[kind]


def equal_bits(ours, theirs):
    assert ours.shape == theirs.shape
    nan = np.isnan(theirs)
    np.testing.assert_array_equal(np.isnan(ours), nan)
    np.testing.assert_array_equal(
        np.where(nan, 0, ours).astype(np.float32).view(np.uint32),
        np.where(nan, 0, theirs).astype(np.float32).view(np.uint32),
    )


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
def test_any_bytes_mean_the_same_weights(kind):
    data = np.random.default_rng(3).integers(0, 256, (11, 8 * TYPES[kind].size), np.uint8)
    ours = dequantize(data, kind)
    given = {"F32": np.float32, "F16": np.float16}.get(kind)
    theirs = gguf.dequantize(data if given is None else data.view(given), code(kind)).astype(np.float32)
    equal_bits(ours, theirs.reshape(-1))
    assert np.isfinite(ours).mean() > 0.5


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_0", "Q4_1"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 40.0])
def test_weights_become_the_same_blocks(kind, scale):
    x = (np.random.default_rng(4).standard_normal((40, 96)) * scale).astype(np.float32)
    x[3] = 0
    x[4, :32] = 2.5  # all alike
    x[5, 32:64] = np.round(x[5, 32:64])  # halves to round
    theirs = np.ascontiguousarray(gguf.quantize(x, code(kind))).view(np.uint8)
    np.testing.assert_array_equal(quantize(x, kind), theirs.reshape(-1))


def test_files_of_ours_are_read_by_theirs(tmp_path):
    draw = np.random.default_rng(5)
    kinds = ["F32", "F16", "Q8_0", "Q4_0", "Q4_1"]
    tensors = {f"t.{kind}": draw.standard_normal((3, 5, 64)).astype(np.float32) for kind in kinds}
    tensors["one"] = draw.standard_normal(7).astype(np.float32)
    metadata = {
        "general.architecture": "llama", "general.name": "작은 모델", "a.count": 7, "a.below": -7, "a.flag": False,
        "a.eps": 1e-5, "a.words": ["a", "나", ""], "a.ids": [3, -1], "a.scores": [0.5, 1.25],
    }  # fmt: skip
    path = write_gguf(tmp_path / "x.gguf", metadata, tensors, {f"t.{kind}": kind for kind in kinds})
    theirs, ours = gguf.GGUFReader(path), read_gguf(path)
    for name, value in metadata.items():
        found = theirs.get_field(name).contents()
        assert found == (float(np.float32(value)) if isinstance(value, float) else value), name
    assert [t.name for t in theirs.tensors] == list(tensors)
    for tensor in theirs.tensors:
        equal_bits(
            ours.read(tensor.name), gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        )
        assert ours.tensors[tensor.name].type == tensor.tensor_type.name
    np.testing.assert_array_equal(ours.read("t.F32"), tensors["t.F32"])
    np.testing.assert_array_equal(ours.read("one"), tensors["one"])


@pytest.mark.parametrize("alignment", [32, 256])
def test_files_of_theirs_are_read_by_ours(tmp_path, alignment):
    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(alignment)
    kinds = gguf.GGUFValueType
    numbers = {
        "u8": (200, kinds.UINT8), "i8": (-3, kinds.INT8), "u16": (60000, kinds.UINT16), "i16": (-300, kinds.INT16),
        "u32": (1 << 31, kinds.UINT32), "i32": (-70000, kinds.INT32), "u64": (1 << 63, kinds.UINT64),
        "i64": (-(1 << 62), kinds.INT64), "f32": (0.5, kinds.FLOAT32), "f64": (0.1, kinds.FLOAT64),
        "bool": (True, kinds.BOOL), "str": ("한", kinds.STRING),
    }  # fmt: skip
    for name, (value, kind) in numbers.items():
        writer.add_key_value(name, value, kind)
    writer.add_array("words", ["x", "한"])
    writer.add_array("ids", [1, 2, -3])
    writer.add_array("numbers", [0.5, 2.0])
    draw = np.random.default_rng(6)
    for kind in ("Q4_0", "Q5_0", "Q5_1", "Q8_0", "BF16", "Q4_1"):
        data = gguf.quantize(draw.standard_normal((3, 64)).astype(np.float32), code(kind))
        writer.add_tensor(kind, data, raw_dtype=code(kind))
    writer.add_tensor("half", draw.standard_normal((2, 3)).astype(np.float16))
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file()
    writer.close()
    found = read_gguf(path)
    assert {name: found.metadata[name] for name in numbers} == {
        name: value for name, (value, _) in numbers.items()
    }
    assert found.metadata["words"] == ["x", "한"]
    assert found.metadata["ids"].tolist() == [1, 2, -3]
    assert found.metadata["numbers"].tolist() == [0.5, 2.0]
    theirs = gguf.GGUFReader(path).tensors
    assert list(found.tensors) == [tensor.name for tensor in theirs]
    for tensor in theirs:
        equal_bits(
            found.read(tensor.name), gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        )


def test_vocabulary_files_of_llama_cpp(real_data):
    for path in sorted(real_data("tokenizers/gguf").glob("*.gguf")):
        found, theirs = read_gguf(path), gguf.GGUFReader(path)
        names = [name for name in theirs.fields if not name.startswith("GGUF.")]
        assert list(found.metadata) == names
        for name in names:
            ours, other = found.metadata[name], theirs.get_field(name).contents()
            assert (ours.tolist() if isinstance(ours, np.ndarray) else ours) == other, name
