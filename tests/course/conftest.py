"""Fixtures of the course's tests."""

import random

import tests.course.lessons  # isort: skip - chooses a display, which must happen before pyplot is imported
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import tests.course.tiny_exercises  # noqa: F401 - registers the exercises of lesson 99_9


@pytest.fixture(autouse=True)
def everything_as_it_was():
    """setup() changes global settings, as it must in a notebook; no test may see another's."""
    threads, numpy_options, rc = torch.get_num_threads(), np.get_printoptions(), mpl.rcParams.copy()
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    yield
    torch.set_num_threads(threads)
    torch.set_printoptions(profile="default")
    np.set_printoptions(**numpy_options)
    mpl.rcParams.update(rc)
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
    plt.close("all")
