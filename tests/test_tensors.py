"""Tensors in the common container: every dtype comes back bit for bit, cut files are refused."""

import pytest
import torch

from minillm._files import BadFileError, save_arrays
from minillm._tensors import load_tensors, save_tensors
from tests.helpers import cuts


def test_every_dtype_comes_back_bit_for_bit(tmp_path):
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    dtypes = [
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
    ]
    tensors = {str(dtype): (x * 50).to(dtype) for dtype in dtypes}
    tensors |= {"uint8": torch.arange(5).byte(), "bool": x > 0, "strided": x.t(), "scalar": torch.tensor(2.5)}
    tensors |= {"empty": torch.zeros(0, 3), "nan": torch.tensor([float("nan"), float("inf")]).bfloat16()}
    back, meta = load_tensors(
        save_tensors(tmp_path / "한글.state", "thing", tensors, {"n": [1, None]}), "thing"
    )
    assert meta == {"n": [1, None]}
    for name, tensor in tensors.items():
        assert (back[name].dtype, back[name].shape) == (tensor.dtype, tensor.shape)
        bits, expected = (t.contiguous().view(-1).view(torch.uint8) for t in (back[name], tensor))
        assert torch.equal(bits, expected)


def test_cut_and_foreign_files_are_refused(tmp_path):
    path = save_tensors(tmp_path / "a", "thing", {"x": torch.arange(3)})
    data = path.read_bytes()
    for length in cuts(data):
        path.write_bytes(data[:length])
        with pytest.raises(BadFileError, match="thing"):
            load_tensors(path, "thing")
    for meta in (None, {}, {"dtypes": {}, "meta": 1}, {"dtypes": {"x": "no_dtype"}, "meta": 1}, [1]):
        save_arrays(path, "thing", {"x": torch.arange(3).numpy()}, meta)
        with pytest.raises(BadFileError, match="thing"):
            load_tensors(path, "thing")
