"""The one line at the top of every lesson: the same seeds, threads, precision and figure style for every reader.

The library itself never reads global random state; a notebook may, for brevity, so its seeds are set here and only
here. One thread, because results then repeat on any number of cores and tiny models are faster with one than two.
"""

from __future__ import annotations

import random
import sys

import numpy as np
import torch

from minillm._checks import check_int
from minillm.course.page.style import use_style


def setup(seed: int = 0, threads: int = 1) -> None:
    """Seed random, numpy and torch; set torch's threads, three printed decimals, and the course's figure style.

    In a notebook figures appear under their cell, whatever MPLBACKEND says. Prints nothing. Raises ValueError for a
    seed outside 0 .. 2**32 - 1 (what numpy takes) or fewer than one thread.
    """
    seed = check_int("seed", seed, 0, 2**32 - 1)
    threads = check_int("threads", threads, 1)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - a reader's own `np.random` calls should repeat too
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    np.set_printoptions(precision=3, suppress=True, linewidth=100)
    torch.set_printoptions(precision=3, sci_mode=False, linewidth=100)
    _draw_in_the_notebook()
    use_style()


def _draw_in_the_notebook() -> None:
    """Choose the inline backend in a Jupyter kernel; elsewhere the choice is the reader's."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if hasattr(shell, "kernel"):
        shell.run_line_magic("matplotlib", "inline")
