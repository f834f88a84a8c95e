"""What every kernel asks before it launches: do the tensors fit together, and can this machine run them?

A kernel reads memory by address, so a wrong shape is no exception there but a wrong answer or a crash. Every public
function of kernels/ therefore checks on the host, and raises a ValueError that names what came and what it expects.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

FLOATS = (torch.float16, torch.bfloat16, torch.float32)
# Triton's own rule, without importing it: the plain files next door run where there is no Triton
INTERPRETED = os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y")
LARGEST = sys.float_info.max
TENSOR_CORES = (9, 0)  # the GPU the launch settings are chosen for when there is none to ask
# a·b + c in one instruction, rounded once: what kernels are measured and compiled ahead with (the paged ones decline).
# Triton 3.9 warns where this is unset, and 3.10 is to leave it off.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
# set by compile_ahead.py: nothing runs, launches are only recorded
_compiling_for: tuple[int, int] | None = None


def describe(value: Any) -> str:
    """A short picture of a value for an error message: shape, dtype and device of a tensor, a cut repr of the rest."""
    if isinstance(value, Tensor):
        name = str(value.dtype).removeprefix("torch.")
        kind = (
            "tensor"
            if value.layout == torch.strided
            else f"{str(value.layout).removeprefix('torch.')} tensor"
        )
        return f"a {name} {kind} of shape {tuple(value.shape)} on {value.device}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}... ({type(value).__name__})"


def check_tensor(
    name: str, value: Any, shape: str, dtypes: Collection[torch.dtype] = FLOATS, like: Tensor | None = None
) -> Tensor:
    """`value` if it is a tensor with the axes that `shape` names, one letter or word an axis: "B H T D".

    dtypes: the dtypes it may have. like: a tensor whose device (not dtype) it must share. Raises ValueError.
    """
    axes = shape.split()
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} must be a tensor ({', '.join(axes)}), got {describe(value)}")
    if value.layout != torch.strided:
        raise ValueError(f"{name} must be a dense tensor ({', '.join(axes)}), got {describe(value)}")
    if value.ndim != len(axes):
        raise ValueError(f"{name} must have {len(axes)} axes ({', '.join(axes)}), got {describe(value)}")
    if value.dtype not in dtypes:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise ValueError(f"{name} must be of dtype {names}, got {describe(value)}")
    if like is not None and value.device != like.device:
        raise ValueError(f"{name} must be on {like.device} as the other tensors are, got {describe(value)}")
    return value


def check_int(name: str, value: Any, minimum: int, maximum: int | None = None) -> int:
    """`value` as an int in [minimum, maximum]; bools and floats are refused with a ValueError."""
    if isinstance(value, bool) or not (isinstance(value, int) or hasattr(value, "__index__")):
        raise ValueError(f"{name} must be an integer, got {describe(value)}")
    # torch.compile knows an int that changes from call to call as a symbol, which has no __index__
    whole = value if isinstance(value, int) else value.__index__()
    if whole < minimum or (maximum is not None and whole > maximum):
        bounds = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        raise ValueError(f"{name} must be {bounds}, got {whole}")
    return whole


def check_number(name: str, value: Any, minimum: float = -math.inf, maximum: float = math.inf) -> float:
    """`value` as a finite float in [minimum, maximum], or a ValueError."""
    # comparisons, not math.isfinite: torch.compile can follow them for a number that changes from call to call
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -LARGEST <= value <= LARGEST:
        raise ValueError(f"{name} must be a finite number, got {describe(value)}")
    if not minimum <= value <= maximum:
        raise ValueError(f"{name} must be between {minimum:g} and {maximum:g}, got {value:g}")
    return float(value)


def check_softcap(value: Any) -> float:
    """`value` as a soft cap of scores: 0 (none), or so that it and 1 / value stay within float32; or a ValueError."""
    cap = check_number("softcap", value, 0.0)
    return check_number("softcap", cap, 1e-30, 1e30) if cap else cap


def check_flag(name: str, value: Any) -> bool:
    """`value` if it is True or False, or a ValueError."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {describe(value)}")
    return value


def check_launch(*tensors: Tensor | None) -> None:
    """ValueError unless these tensors lie where a kernel can reach them: on one GPU, or anywhere if interpreted.

    The interpreter's own bfloat16 arithmetic is wrong (Triton 3.6 to 3.9 reads the bits as integers in `tl.dot` and
    cuts instead of rounding), so bfloat16 is refused there rather than answered wrongly; the tests mend it first.
    """
    given = [x for x in tensors if x is not None]
    if len({x.device for x in given}) > 1:
        raise ValueError(f"all tensors must be on one device, got {', '.join(describe(x) for x in given)}")
    if _compiling_for is not None:
        return
    if INTERPRETED:
        if not all(interpreter_takes(x.dtype) for x in given):
            raise ValueError("Triton's interpreter computes bfloat16 wrongly: use float32 or float16 there")
    elif given and given[0].device.type != "cuda":
        raise ValueError(
            f"Triton kernels run on a GPU, got {describe(given[0])}; without one, set the environment variable "
            "TRITON_INTERPRET=1 before the first import of kernels, and they run in Triton's interpreter"
        )


def interpreter_takes(dtype: torch.dtype) -> bool:
    """Whether Triton's interpreter is on and computes this dtype rightly. Imports Triton for bfloat16 alone."""
    if not INTERPRETED or dtype != torch.bfloat16:
        return INTERPRETED
    from triton.runtime.interpreter import InterpreterBuilder

    return getattr(InterpreterBuilder, "bfloat16_mended", False)


def capability(x: Tensor) -> tuple[int, int]:
    """The compute capability that launch settings are chosen for, (8, 0) for an A100, (9, 0) for an H100 or H200."""
    if _compiling_for is not None:
        return _compiling_for
    return torch.cuda.get_device_capability(x.device) if x.device.type == "cuda" else TENSOR_CORES
