"""The kernels' tests run on a GPU if there is one, and else in Triton's interpreter on the CPU: one source, both."""

import pytest
import torch

from tests.triton_interpreter import mend

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
mend()  # tests/conftest.py has chosen the interpreter if there is no GPU


@pytest.fixture
def device() -> str:
    """Where the kernels run: "cuda", or "cpu" for the interpreter."""
    return DEVICE


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded source of random numbers on the CPU: the same inputs on every machine."""
    return torch.Generator().manual_seed(0)
