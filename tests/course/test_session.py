"""setup() makes a notebook repeat, and says nothing."""

import random
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
import torch

from minillm.course import setup
from minillm.course.page.style import PALETTE


def draws():
    return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002


def test_the_same_seed_draws_the_same_numbers():
    setup()
    first = draws()
    draws()
    setup()
    assert draws() == first
    setup(seed=1)
    assert all(a != b for a, b in zip(draws(), first))


def test_threads_and_three_decimals():
    setup(threads=2)
    assert torch.get_num_threads() == 2
    setup()
    assert torch.get_num_threads() == 1
    assert str(np.array([1 / 3, 1e-9])) == "[0.333 0.   ]"
    assert str(torch.tensor([1 / 3, 20000.0])) == "tensor([    0.333, 20000.000])"
    assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(PALETTE)


@pytest.mark.parametrize("bad", [None, -1, 2**32, 1.5, "0", True])
def test_bad_seeds_and_threads_are_refused(bad):
    with pytest.raises(ValueError, match="seed"):
        setup(seed=bad)
    with pytest.raises(ValueError, match="threads"):
        setup(threads=bad if bad != 2**32 else 0)


def test_a_figure_with_korean_text_prints_nothing():
    """In a process of its own, with warnings as errors: no missing glyph, no font search message."""
    program = (
        "import io; from minillm.course import setup, plot_lines; import matplotlib.pyplot as plt; setup(); "
        "plot_lines({'손실': [3, 2, 1], '🙂': [1, 1, 1]}, title='학습 곡선 − loss'); plt.savefig(io.BytesIO())"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
