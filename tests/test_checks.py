"""What was passed in is refused with a message that says what came and what was expected."""

import numpy as np
import pytest
import torch

from minillm._checks import check_choice, check_int, check_number, check_text


@pytest.mark.parametrize("value", [True, 1.0, "1", None, [1], float("nan"), np.float32(1)])
def test_only_integers_are_integers(value):
    with pytest.raises(ValueError, match=r"k must be an integer, got"):
        check_int("k", value)


def test_numpy_integers_pass_and_bounds_are_named():
    assert check_int("k", np.int32(3), 1) == 3
    with pytest.raises(ValueError, match=r"k must be at least 1, got 0"):
        check_int("k", 0, 1)
    with pytest.raises(ValueError, match=r"k must be between 1 and 5, got 6"):
        check_int("k", 6, 1, 5)


@pytest.mark.parametrize("value", [True, "0.5", b"1", None, float("nan"), float("inf"), [0.5]])
def test_only_finite_numbers_are_numbers(value):
    with pytest.raises(ValueError, match=r"b must be a finite number, got"):
        check_number("b", value)


def test_numbers_out_of_bounds_are_named():
    assert check_number("b", np.float32(0.5), 0, 1) == 0.5
    with pytest.raises(ValueError, match=r"b must be between 0 and 1, got 1\.5"):
        check_number("b", 1.5, 0, 1)


def test_choices_are_listed_and_true_is_not_one():
    assert check_choice("metric", "l2", ("l2", "ip")) == "l2"
    with pytest.raises(ValueError, match=r"metric must be one of 'l2', 'ip', got 'dot'"):
        check_choice("metric", "dot", ("l2", "ip"))
    with pytest.raises(ValueError, match=r"got True"):
        check_choice("n", True, (1, 2))


def test_arrays_are_described_by_shape_and_long_values_are_cut():
    with pytest.raises(
        ValueError, match=r"query must be a str, got ndarray of shape \(2, 3\) and dtype float64"
    ):
        check_text("query", np.zeros((2, 3)))
    with pytest.raises(ValueError) as error:
        check_text("query", ["x" * 1000])
    assert len(str(error.value)) < 130


def test_a_thing_of_many_lines_is_named_in_one():
    """A model in the place of a path or an engine: its layers are no news."""
    with pytest.raises(ValueError) as refused:
        check_text("path", torch.nn.Sequential(torch.nn.Linear(1, 1)))
    assert str(refused.value) == "path must be a str, got Sequential(... (Sequential)"


@pytest.mark.parametrize("value", [np.float16, np.ndarray, torch.Tensor])
def test_a_class_that_has_a_shape_is_no_array(value):
    """`dtype=np.float16` where a torch.dtype is asked for: the refusal itself must not fail."""
    with pytest.raises(ValueError, match="path must be a str, got <class "):
        check_text("path", value)


def test_what_cannot_be_shown_is_refused_all_the_same():
    """A schema nested too deep has no repr: the refusal must not fail of that."""

    class Deep:
        def __repr__(self):
            raise RecursionError

    with pytest.raises(ValueError, match=r"path must be a str, got <.*\(Deep\)$"):
        check_text("path", Deep())
