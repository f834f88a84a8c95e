"""How values come out of a Dataset: as plain Python, as tensors or as arrays. What it holds stays plain.

    None      [[1, 2], [3, 4]]                "torch"     tensor([[1, 2], [3, 4]])          floats as float32

Numbers become tensors (a missing float NaN); text, other missing values and rows of different lengths cannot, and
lists of such stay lists.
Held against: `datasets`' with_format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minillm.data.columns import Kind

FORMATS = (None, "torch", "numpy", "python")
_NAN = float("nan")
_DTYPES = {"int64": np.int64, "float64": np.float32, "bool": np.bool_}


def formatted(form: str | None, kinds: Mapping[str, Kind], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` (a row or columns) of the columns' `kinds` in the format `form`."""
    if form in (None, "python"):
        return dict(values)
    numbers = {
        name: _NAN if value is None and kinds[name] == "float64" else value for name, value in values.items()
    }
    return {name: _array(form, _leaf(kinds[name]), value) for name, value in numbers.items()}


def _leaf(kind: Kind) -> Kind:
    return _leaf(kind[0]) if isinstance(kind, list) else kind


def _array(form: str, kind: Kind, value: Any) -> Any:
    if isinstance(kind, dict) or kind not in _DTYPES or value is None:
        return value
    try:
        array = np.array(value)
        if array.dtype == object and kind != "float64":  # a missing number would become 0
            raise ValueError("missing values")
        array = array.astype(_DTYPES[kind])
    except (ValueError, OverflowError):  # or rows of different lengths: each row for itself
        return value if not isinstance(value, list) else [_array(form, kind, item) for item in value]
    if form == "numpy":
        return array
    import torch  # takes a second to import, and plain values need none of it

    return torch.from_numpy(array)
