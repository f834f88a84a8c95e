"""What a launch of flash attention is given: how many programs, whose memory, which GPUs. Most of these run nothing."""

import threading

import pytest
import torch
import triton.runtime._allocation as allocation

from kernels import _flash_launch, flash_backward, flash_dkv, flash_dq, flash_forward
from kernels import flash_attention as module
from kernels.flash_attention import flash_attention, flash_attention_varlen
from tests.kernels.flash import GPUS, exact, inputs, random, results
from tests.kernels.test_flash_varlen import packed

KERNELS = ((flash_forward, "forward_kernel"), (flash_dq, "dq_kernel"), (flash_dkv, "dkv_kernel"))


@pytest.fixture
def launched(monkeypatch):
    """(programs, options) of every launch, none of which runs."""
    seen = []

    class Kernel:
        def __getitem__(self, grid):
            return lambda *x, **options: seen.append((grid[0], options))

    for file, name in KERNELS:
        monkeypatch.setattr(file, name, Kernel())
    return seen


def test_a_guess_of_the_longest_length_far_off_launches_no_more_than_all_rows_need(launched, device):
    q = random(100, 1, 16).requires_grad_()
    starts = torch.tensor([0, 9, 100], dtype=torch.int32, device=device)
    for longest in (10**6, 100):
        flash_attention_varlen(q, q, q, starts, starts, longest, longest).sum().backward()
    assert [programs for programs, _ in launched[:3]] == [programs for programs, _ in launched[3:]]


def test_more_programs_than_a_launch_takes_are_refused():
    assert _flash_launch.programs_of(1 << 15, 1 << 22, 128) == (1 << 30, 1 << 15)
    with pytest.raises(ValueError, match="2147483648 programs"):
        _flash_launch.programs_of(1 << 16, 1 << 22, 128)


def test_a_scale_that_is_0_in_float32_does_not_meet_minus_infinity(launched):
    for scale in (1e-3, 1e-50):
        flash_attention(*(x.detach() for x in inputs(1, 1, 1, 3, 3, 16)), causal=True, scale=scale)
    assert [options["FOLDED"] for _, options in launched] == [True, False]


def test_rows_of_a_result_do_not_lie_further_apart_than_a_tile_can_count():
    # windows of a picture, positions first
    x = torch.empty(144, 1 << 15, 16, 32, device="meta").permute(1, 2, 0, 3)
    assert x.stride(2) * 128 >= 2**31
    assert module.outputs(x)[0].stride(2) * 128 < 2**31
    near = torch.empty(144, 4, 16, 32, device="meta").permute(1, 2, 0, 3)
    assert module.outputs(near)[0].stride() == near.stride()


def test_scratch_memory_is_lent_in_any_thread_and_only_for_the_launch(monkeypatch):
    """The backward pass of a GPU runs in a thread of its own, and Triton keeps the lender in a context variable."""
    lent, outside = [], allocation._allocator.get()

    class Kernel:
        def __getitem__(self, grid):
            return lambda q, *x, **options: lent.append((q, allocation._allocator.get()(64, 128, None)))

    q, k, v = inputs(1, 1, 1, 3, 3, 16)
    out = flash_attention(q, k, v)
    for file, name in KERNELS:
        monkeypatch.setattr(file, name, Kernel())
    flash_attention(q, k, v)
    thread = threading.Thread(target=out.sum().backward)
    thread.start()
    thread.join()
    assert [(room.device, room.numel()) for _, room in lent] == [(q.device, 64)] * 3
    assert allocation._allocator.get() is outside


def test_gpus_before_the_a100_are_refused(monkeypatch):
    monkeypatch.setattr(module, "capability", lambda x: (7, 5))
    with pytest.raises(ValueError, match=r"8\.0.*\(7, 5\)"):
        flash_attention(*inputs(1, 1, 1, 3, 3, 16))


def test_descriptors_of_packed_sequences_whose_heads_share_keys(monkeypatch):
    """On Hopper and Blackwell the copy engine fetches the tiles: each sequence is a tensor of its own to it."""
    for file, _ in KERNELS:
        monkeypatch.setattr(file, "INTERPRETED", False)
    for file in (module, flash_backward):
        monkeypatch.setattr(file, "capability", lambda x: GPUS["sm_90"])
    lengths_q, lengths_k = (70, 0, 1, 130), (100, 9, 0, 130)
    q, k, v, upstream, upstream_lse, sizes = packed(lengths_q, lengths_k, 4, 2, 24, torch.float16)
    ours = results(
        lambda *x: flash_attention_varlen(*x, *sizes, causal=True, return_lse=True),
        *(q, k, v, upstream, upstream_lse),
    )
    for n in (0, 3):
        rows, keys = slice(*sizes[0][n : n + 2].tolist()), slice(*sizes[1][n : n + 2].tolist())
        one = [x.double().transpose(0, 1)[None] for x in (q[rows], k[keys], v[keys], upstream[rows])]
        truth = results(lambda *x: exact(*x, causal=True), *one, upstream_lse[None, :, rows].double())
        parts = [ours[0][rows], ours[1][:, rows].mT, ours[2][rows], ours[3][keys], ours[4][keys]]
        for x, y in zip(parts, truth):
            y = y[0].transpose(0, 1)
            assert (x - y).norm() <= 1e-3 * y.norm()
