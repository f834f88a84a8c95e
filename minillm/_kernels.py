"""Whether the Triton kernels of kernels/ can run, asked without importing Triton: one rule for every way to them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor


def kernels_installed() -> bool:
    """Whether kernels/ and Triton are here; imports neither. Another package named `kernels` is not ours."""
    ours = importlib.util.find_spec("kernels")
    if ours is None or ours.origin is None or not Path(ours.origin).with_name("_checks.py").is_file():
        return False
    return importlib.util.find_spec("triton") is not None


INSTALLED = kernels_installed()  # asked once: it reads folders, and every layer of a model wants to know


def gpu_runs_kernels(x: Tensor) -> bool:
    """Whether x lies on a GPU that the kernels are made for: NVIDIA's, from the A100 on."""
    if x.device.type != "cuda" or torch.version.hip:  # torch calls AMD's GPUs "cuda", too
        return False
    return torch.cuda.get_device_capability(x.device) >= (8, 0)
