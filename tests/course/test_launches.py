"""What LaunchWatch sees of an answer that is a Triton kernel."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import _disable_current_modes

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


def computed_unseen(x):
    with _disable_current_modes():
        ready = 2 * x / 2
    return double(ready)


def computed_by_the_grid(x):
    y, room = torch.empty_like(x), torch.empty_like(x)

    def grid(meta):  # asked within the launch, where the watch does not look
        room.copy_(x)
        return (3,)

    double_kernel[grid](room, y, len(x), len(x), BLOCK=4)
    return y


@pytest.mark.parametrize("answer", [computed_unseen, computed_by_the_grid])
def test_what_torch_computes_unseen_shows_when_a_program_reads_it(answer):
    watch, x = LaunchWatch(), torch.arange(10.0)
    assert torch.equal(watch.run(answer, x), 2 * x)
    assert (watch.launches, watch.torch_ran) == (1, [])
    assert watch.read_others


def test_what_a_program_stored_may_be_read_again():
    watch, x = LaunchWatch(), torch.arange(10.0)
    assert torch.equal(watch.run(lambda x: double(double(x)), x[::2].contiguous()), 4 * x[::2])
    assert not watch.read_others


def overwritten(x, before, after):
    """y = 2x by the kernel, with numpy at work on x or y itself, before or after the launch."""
    x.numpy()[:] += before
    y = double(x)
    x.numpy()[:] -= before
    y.numpy()[:] += after
    return y


def test_numbers_that_come_in_another_way_are_told():
    watch, x = LaunchWatch(), torch.arange(10.0)
    assert watch.wrote(watch.run(lambda x: overwritten(x, 0, 0), x))
    assert watch.brought_in == ""
    watch = LaunchWatch()
    assert watch.wrote(watch.run(lambda x: overwritten(x, 1, 0), x))
    assert watch.brought_in == "a tensor was changed before the launch"
    watch = LaunchWatch()
    assert not watch.wrote(watch.run(lambda x: overwritten(x, 0, 1), x))
    watch = LaunchWatch()
    watch.run(lambda x: double(torch.from_numpy(x.numpy() + 1)), x)
    assert watch.brought_in == "the kernel was given a new tensor with numbers in it"
    assert watch.torch_ran == []


def test_room_with_gaps_between_its_rows_holds_no_numbers():
    watch, x = LaunchWatch(), torch.arange(4.0)
    room = watch.run(lambda x: double(x) if torch.empty_strided((2, 2), (9, 1)).isnan().all() else x, x)
    assert watch.wrote(room)
    rows = []
    watch = LaunchWatch()

    def strided(x):
        y = torch.empty_strided((2, 2), (4, 2))
        double_kernel[(1,)](x, y, 4, 4, BLOCK=4)
        rows.append(y)
        return y[0]

    assert watch.wrote(watch.run(strided, x))
    assert watch.brought_in == ""


def test_an_error_of_the_answer_itself_is_handed_on():
    with pytest.raises(ZeroDivisionError):
        LaunchWatch().run(lambda x: 1 // 0, torch.ones(2))
