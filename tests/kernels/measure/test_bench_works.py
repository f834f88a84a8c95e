"""bench_works.py and works/: the counts are right, and every work agrees with float64 at a tiny size.

A session on a GPU is short: no line of the benchmark may run there for the first time.
"""

import itertools

import pytest
import torch

from kernels.measure import bench_check, bench_tune, bench_works

# peers that need a GPU: they may refuse the CPU, ours may not
GPU_PEERS = {"sdpa cudnn", "torch flash varlen"}
TINY = bench_works.plan("tiny")


# the counts


def test_attention_flops_count_the_two_products():
    B, H, T, S, D = 2, 3, 4, 5, 6
    pairs = sum(1 for _ in itertools.product(range(B), range(H), range(T), range(S)))
    assert bench_works.attention_flops(B, H, T, S, D) == pairs * 2 * D + pairs * 2 * D  # q.k and p.v
    assert bench_works.attention_flops(1, 1, 1024, 1024, 64, causal=True) == 2 * 1024 * 1024 * 64
    # the forward's 2 products, and the backward's 5: scores again, dP, dV, dQ, dK
    assert bench_works.attention_flops(1, 1, 8, 8, 4, backward=True) == 7 * 2 * 8 * 8 * 4


def test_bytes_count_each_input_and_output_once():
    bf16 = torch.bfloat16
    assert bench_works.matmul_flops(2, 3, 5) == sum(
        2 for _ in itertools.product(range(2), range(3), range(5))
    )
    assert bench_works.nbytes(10, bf16, 3) == 60
    keys = torch.empty(3, 7, 2, 8, dtype=bf16)  # three sequences of seven tokens, two key heads of width 8
    q = torch.empty(3, 4, 8, dtype=bf16)
    assert bench_works.decode_bytes([7] * 3, 4, 2, 8, bf16) == 2 * keys.nbytes + 2 * q.nbytes
    packed, scales = torch.empty(6, 32, dtype=torch.uint8), torch.empty(6, 4)
    rows = torch.empty(5, 64, dtype=bf16).nbytes + torch.empty(5, 6, dtype=bf16).nbytes
    assert bench_works.w4_bytes(5, 6, 64, 16, bf16) == packed.nbytes + scales.nbytes + rows


# the plan


def test_the_plan_makes_no_tensor_and_names_every_work_once(monkeypatch):
    monkeypatch.setattr(torch, "randn", None)
    monkeypatch.setattr(torch, "empty", None)
    for size in bench_works.SIZES:
        names = [f"{work.kernel}, {work.name}" for work in bench_works.plan(size)]
        assert len(names) == len(set(names)) > 5
    assert {work.kernel for work in bench_works.plan("tiny")} == {w.kernel for w in bench_works.plan("full")}
    assert [work.kernel for work in bench_works.plan("full", "rotary, fwd B")] == ["rotary"]
    with pytest.raises(ValueError, match="size must be one of full, quick, tiny, got 'huge'"):
        bench_works.plan("huge")


def test_the_plan_holds_the_targets():
    works = bench_works.plan("full")

    def targets(start):
        return [work.targets for work in works if f"{work.kernel}, {work.name}".startswith(start)]

    for T in (8192, 16384):
        for D, mask, least in (
            (128, "full", 450),
            (128, "causal", 400),
            (64, "full", 390),
            (64, "causal", 350),
        ):
            found = targets(f"flash_attention, fwd {mask} D{D} T{T} B{16384 // T} H{2048 // D} bf16")
            assert found == [{"sdpa flash": 1.2, "TFLOP/s": least}]
        assert {"sdpa flash": 1.2, "TFLOP/s": 300} in targets(f"flash_attention, fwd+bwd causal D128 T{T}")
    assert all(found["sdpa flash"] == 1.2 for found in targets("flash_attention,"))
    assert targets("paged_attention, decode B64 x 4096 tokens, H32 K8 D128, blocks of 16") == [{"floor": 0.8}]
    for kernel in ("rms_norm", "layer_norm", "rotary", "cross_entropy"):
        assert all(found == {"floor": 0.85} for found in targets(f"{kernel},"))
    assert all(found == {"floor": 0.6} for found in targets("w4a16_linear, 1 x"))


@pytest.mark.parametrize("work", TINY, ids=lambda work: f"{work.kernel}, {work.name}")
def test_every_work_and_its_peers_run_and_agree_with_float64(work, device):
    trial = work.build(device)
    with bench_tune.Overridden() as overridden:
        assert bench_check.check(trial) == ""
    steps = [step for answer in overridden.asked.values() for step in bench_tune.neighbours(answer)]
    assert len(steps) > 1  # --tune finds the function that chooses this kernel's settings
    for name, peer in trial.peers.items():
        try:
            peer()
        except (RuntimeError, NotImplementedError):
            assert device == "cpu"
            assert name in GPU_PEERS
    if not work.host:
        assert bool(work.flops) != bool(work.bytes)
