"""store_kv against torch's index assignment: shapes, slots in and out of the cache, strides, bad input."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import store_kv as module
from kernels.store_kv import store_kv, store_kv_plain
from tests.kernels.conftest import DEVICE
from tests.kernels.paged import far_cache, random_tensor


def nan_caches(num_blocks=5, block_size=8, K=2, D=32, dtype=torch.float32):
    return torch.full((2, num_blocks, block_size, K, D), float("nan"), dtype=dtype, device=DEVICE).unbind(0)


def assert_stored(k, v, key_cache, value_cache, slots, before=None):
    """Every token lies in its slot, and every other slot is as it was (NaN, or `before`)."""
    for tokens, cache, old in zip((k, v), (key_cache, value_cache), before or (None, None)):
        flat = torch.full_like(cache, float("nan")) if old is None else old.clone()
        flat = flat.flatten(0, 1)
        for token, slot in zip(tokens, slots.tolist()):
            if 0 <= slot < len(flat):
                flat[slot] = token
        assert torch.equal(cache.flatten(0, 1).view(flat.shape).nan_to_num(7e4), flat.nan_to_num(7e4))


@settings(max_examples=15)
@given(
    N=st.integers(0, 40),
    K=st.integers(1, 3),
    D=st.sampled_from([1, 7, 32, 96, 128, 256]),
    block_size=st.sampled_from([8, 10, 16, 24, 256]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    slot_dtype=st.sampled_from([torch.int32, torch.int64]),
    seed=st.integers(0, 2**31),
)
def test_any_shape(N, K, D, block_size, dtype, slot_dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    num_blocks = -(-N // block_size) + 1
    key_cache, value_cache = nan_caches(num_blocks, block_size, K, D, dtype)
    k, v = random_tensor(generator, N, K, D, dtype=dtype), random_tensor(generator, N, K, D, dtype=dtype)
    slots = torch.randperm(num_blocks * block_size, generator=generator)[:N].to(DEVICE, slot_dtype)
    slots[::3] = -1  # padding
    store_kv(k, v, key_cache, value_cache, slots)
    assert_stored(k, v, key_cache, value_cache, slots)


def test_plain_agrees(generator):
    k, v = random_tensor(generator, 6, 2, 32), random_tensor(generator, 6, 2, 32)
    slots = torch.tensor([3, -1, 39, 40, 8, 0], device=DEVICE)
    caches = nan_caches()
    store_kv_plain(k, v, *caches, slots)
    assert_stored(k, v, *caches, slots)


@pytest.mark.parametrize("slot_dtype", [torch.int32, torch.int64])
def test_slots_outside_the_cache_are_skipped(generator, slot_dtype):
    k, v = random_tensor(generator, 8, 2, 32), random_tensor(generator, 8, 2, 32)
    far = 2**31 - 1 if slot_dtype == torch.int32 else 2**40
    slots = torch.tensor([-1, 40, -8, far, -far, 39, 41, 0], dtype=slot_dtype, device=DEVICE)
    # a block before the cache, and one behind
    memory = torch.full((2, 7, 8, 2, 32), float("nan"), device=DEVICE)
    store_kv(k, v, memory[0, 1:-1], memory[1, 1:-1], slots)
    assert_stored(k, v, memory[0, 1:-1], memory[1, 1:-1], slots)
    assert memory[:, [0, -1]].isnan().all()


def test_strided_inputs_and_caches(generator):
    # projections come out as (N, (H + 2K) * D): k and v are slices of it
    packed = random_tensor(generator, 9, 8, 32)
    k, v = packed[:, 4:6], packed[:, 6:8]
    slots = torch.arange(18, device=DEVICE)[::2]
    # a layer of a cache that keeps keys and values side by side
    layers = torch.full((5, 2, 3, 8, 2, 32), float("nan"), device=DEVICE)
    key_cache, value_cache = layers[:, 0, 1], layers[:, 1, 1]
    store_kv(k, v, key_cache, value_cache, slots)
    assert_stored(k, v, key_cache, value_cache, slots)
    assert layers[:, :, [0, 2]].isnan().all()
    heads_first = torch.full((5, 2, 8, 32), float("nan"), device=DEVICE).transpose(1, 2)
    apart = torch.stack([v, v], -1)[..., 0]  # every second number
    same = k[:1].expand(9, -1, -1)
    other = nan_caches()[0]
    store_kv(same, apart, heads_first, other, slots)
    assert_stored(same, v, heads_first, other, slots)


def test_far_offsets():
    """A block that lies 2**31 elements away, though strides are smaller: offsets are 64 bits wide."""
    cache = far_cache()
    k = torch.arange(32, device=DEVICE).half().view(1, 1, 32)
    store_kv(k, k, cache, cache, torch.tensor([21], device=DEVICE))
    assert torch.equal(cache[2, 5, 0], k[0, 0])


def test_nothing_to_do():
    caches = nan_caches()
    nothing = torch.empty(0, 2, 32, device=DEVICE)
    store_kv(nothing, nothing, *caches, torch.empty(0, dtype=torch.int64, device=DEVICE))
    assert caches[0].isnan().all()
    token = torch.zeros(1, 2, 32, device=DEVICE)
    store_kv(token, token, caches[0][:0], caches[1][:0], torch.tensor([3], device=DEVICE))


BAD = {
    "k of two axes": lambda a: {"k": a["k"][0]},
    "v of another shape": lambda a: {"v": a["v"][:2]},
    "v of another dtype": lambda a: {"v": a["v"].half()},
    "k and v of integers": lambda a: {"k": a["k"].int(), "v": a["v"].int()},
    "caches of another dtype": lambda a: {
        "key_cache": a["key_cache"].half(),
        "value_cache": a["value_cache"].half(),
    },
    "caches of two shapes": lambda a: {"key_cache": a["key_cache"][:2]},
    "another K": lambda a: {"k": a["k"][:, :1], "v": a["v"][:, :1]},
    "another D": lambda a: {"k": a["k"][..., :8], "v": a["v"][..., :8]},
    "blocks of 4": lambda a: {n: a[n][:, :4] for n in ("key_cache", "value_cache")},
    "a cache strided along D": lambda a: {
        "key_cache": a["key_cache"].transpose(2, 3).contiguous().transpose(2, 3)
    },
    "an expanded cache": lambda a: {"key_cache": a["key_cache"][:1].expand(5, -1, -1, -1)},
    "slots of floats": lambda a: {"slot_mapping": a["slot_mapping"].float()},
    "slots of two axes": lambda a: {"slot_mapping": a["slot_mapping"][None]},
    "too few slots": lambda a: {"slot_mapping": a["slot_mapping"][:2]},
    "slots a list": lambda a: {"slot_mapping": [0, 1, 2]},
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(generator, name):
    key_cache, value_cache = nan_caches()
    good = {
        "k": random_tensor(generator, 3, 2, 32),
        "v": random_tensor(generator, 3, 2, 32),
        "key_cache": key_cache,
        "value_cache": value_cache,
        "slot_mapping": torch.arange(3, device=DEVICE),
    }
    with pytest.raises(ValueError, match="got"):
        store_kv(**{**good, **BAD[name](good)})
    assert key_cache.isnan().all()  # nothing half-written


def test_as_a_torch_operator(generator):
    k, v = random_tensor(generator, 3, 2, 32), random_tensor(generator, 3, 2, 32)
    slots = torch.tensor([5, -1, 17], device=DEVICE)
    caches = [cache.zero_() for cache in nan_caches()]
    torch.library.opcheck(module._store_kv, (k, v, *caches, slots))
    compiled = torch.compile(store_kv, fullgraph=True, backend="aot_eager")
    first, second = ([cache.zero_() for cache in nan_caches()] for _ in range(2))
    compiled(k, v, *first, slots)
    store_kv(k, v, *second, slots)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
