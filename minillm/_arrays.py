"""What somebody else's model gives, as an array of numpy or as Python's own values: a list, an array or a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_array(value: Any) -> np.ndarray:
    """The numbers as an array; of a tensor also with its graph or on a GPU. bfloat16, which numpy lacks, as float32.

    Raises what numpy raises (ValueError, TypeError, RuntimeError) for a list that is no table.
    """
    if not hasattr(value, "detach"):  # torch need not be here
        return np.asarray(value)
    tensor = value.detach().cpu()
    try:
        return tensor.numpy()
    except TypeError:  # bfloat16
        return tensor.float().numpy()


def plain_items(values: Any) -> list[Any]:
    """The items of a listing, numbers of numpy and torch as Python's own: two tensors of one number are two keys of a
    dict."""
    values = values.tolist() if hasattr(values, "tolist") else values
    return [plain_item(one) for one in values]


def plain_item(value: Any) -> Any:
    """A single number or text of numpy or torch as Python's own; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
