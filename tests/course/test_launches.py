"""What LaunchWatch sees of an answer that is a Triton kernel."""

from __future__ import annotations

import pytest
import torch

triton = pytest.importorskip("triton")
import triton.language as tl  # noqa: E402

from minillm.course.classroom.launches import LaunchWatch  # noqa: E402

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="watches Triton's interpreter")


@triton.jit
def double_kernel(x, y, N, LIMIT, BLOCK: tl.constexpr):
    mine = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + mine, 2 * tl.load(x + mine, mask=mine < LIMIT), mask=mine < N)


def double(x, N=None, limit=None):
    y = torch.empty_like(x)
    N = len(x) if N is None else N
    double_kernel[(triton.cdiv(len(x), 4),)](x, y, N, N if limit is None else limit, BLOCK=4)
    return y


def test_a_kernel_that_does_all_of_it():
    watch, x = LaunchWatch(), torch.arange(10.0)
    found = watch.run(double, x)
    assert torch.equal(found, 2 * x)
    assert (watch.launches, watch.torch_ran, watch.astray) == (1, [], "")
    assert watch.wrote(found)
    assert watch.wrote(found[::3])
    assert not watch.wrote(x)


def test_what_torch_computes_is_named():
    watch = LaunchWatch()
    found = watch.run(lambda x: double(x.view(-1)) + x, torch.ones(6))
    assert watch.torch_ran == ["add"]
    assert not watch.wrote(found)


def test_a_number_that_is_not_written_is_nan():
    watch = LaunchWatch()
    found = watch.run(lambda x: double(x, N=7), torch.ones(10))
    assert found.isnan().tolist() == [False] * 7 + [True] * 3
    assert watch.wrote(found[:7])
    assert not watch.wrote(found)


@pytest.mark.parametrize(("N", "limit", "said"), [(10, 12, "reads outside"), (12, 10, "writes outside")])
def test_a_program_is_stopped_before_it_leaves_its_tensors(N, limit, said):
    watch = LaunchWatch()
    assert watch.run(lambda x: double(x, N, limit), torch.ones(10)) is None
    assert said in watch.astray


def test_an_error_of_the_answer_itself_is_handed_on():
    with pytest.raises(ZeroDivisionError):
        LaunchWatch().run(lambda x: 1 // 0, torch.ones(2))
