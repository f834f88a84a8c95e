"""Attention against torch's own, against closed forms, and on hostile input."""

import math
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm._kernels import KERNELS, use_kernels
from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig
from minillm.nn import (
    ALiBi,
    CausalHead,
    CrossHead,
    GroupedHeads,
    KVCache,
    ManyHeads,
    MultiHeadAttention,
    OneHead,
    RoPE,
    attention,
    attention_backend,
    attention_weights,
    causal_mask,
    padding_mask,
    plain_attention,
    window_mask,
)
from minillm.nn.attention import attention_scores, softmax_rows
from minillm.nn.backends import BACKENDS


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def reference(q, k, v, mask=None, causal=False, scale=None, bias=None):
    """torch's attention with heads repeated and one float mask: no code shared with ours."""
    T, S, G = q.shape[2], k.shape[2], q.shape[1] // k.shape[1]
    scores = torch.zeros(q.shape[0], q.shape[1], T, S)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = torch.where(mask, scores, -torch.inf)
    if causal:
        t, s = torch.arange(T)[:, None] + S - T, torch.arange(S)
        scores = torch.where(s <= t, scores, -torch.inf)
    out = F.scaled_dot_product_attention(
        q, k.repeat_interleave(G, 1), v.repeat_interleave(G, 1), attn_mask=scores, scale=scale
    )
    return torch.where(torch.isneginf(scores).all(-1, keepdim=True), 0.0, out)


@given(
    st.integers(1, 3), st.sampled_from([(1, 1), (4, 4), (4, 2), (6, 1)]), st.integers(1, 6), st.integers(1, 7),
    st.booleans(), st.booleans(), st.booleans(), st.sampled_from([None, 0.3]), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_both_backends_equal_torch(batch, heads, T, S, causal, masked, biased, scale, seed):
    H, K = heads
    q, k, v = (
        random(batch, H, T, 8, seed=seed),
        random(batch, K, S, 8, seed=seed + 1),
        random(batch, K, S, 8, seed=seed + 2),
    )
    mask = random(batch, 1, T, S, seed=seed + 3) > -0.5 if masked else None
    bias = random(H, T, S, seed=seed + 4) if biased else None
    expected = reference(q, k, v, mask, causal, scale, bias)
    for backend in ("plain", "sdpa", "auto"):
        ours = attention(q, k, v, mask, causal, scale, bias, backend=backend)
        torch.testing.assert_close(ours, expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("backend", ["plain", "sdpa"])
def test_a_query_that_sees_nothing_gives_zeros_and_no_nan_gradient(backend):
    q, k, v = (random(1, 2, 3, 4, seed=i).requires_grad_() for i in range(3))
    mask = torch.ones(1, 1, 3, 3, dtype=torch.bool)
    mask[0, 0, 1] = False
    out = attention(q, k, v, mask, backend=backend)
    assert out[0, :, 1].abs().max() == 0
    out.sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in (q, k, v))


@pytest.mark.parametrize("shape", [(4, 1, 6), (1, 1, 6), (2, 4, 1, 6), (2, 1, 1, 6), (1, 6)])
def test_masks_of_every_shape_with_grouped_heads_and_one_query(shape):
    q, k, v = random(2, 4, 1, 8), random(2, 2, 6, 8, seed=1), random(2, 2, 6, 8, seed=2)
    mask = random(*shape, seed=3) > -0.5
    expected = reference(q, k, v, mask)
    for backend in ("plain", "sdpa", "auto"):
        torch.testing.assert_close(attention(q, k, v, mask, backend=backend), expected, atol=2e-6, rtol=1e-5)


def test_causal_is_aligned_to_the_end():
    assert causal_mask(2, 4).tolist() == [[True, True, True, False], [True] * 4]
    q, k, v = random(1, 2, 6, 4), random(1, 2, 6, 4, seed=1), random(1, 2, 6, 4, seed=2)
    whole = attention(q, k, v, causal=True)
    torch.testing.assert_close(attention(q[:, :, 4:], k, v, causal=True), whole[:, :, 4:])
    # more queries than keys: the first ones come before every key
    assert attention(q, k[:, :, :4], v[:, :, :4], causal=True)[:, :, :2].abs().max() == 0


def test_weights_add_up_to_one_and_large_scores_do_not_overflow():
    q, k = random(2, 4, 5, 8) * 1e4, random(2, 2, 7, 8, seed=1) * 1e4
    weights = attention_weights(q, k)
    assert torch.isfinite(weights).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 5))


def test_equal_scores_give_the_mean_of_the_values():
    v = random(1, 1, 5, 4)
    out = attention(torch.zeros(1, 1, 2, 4), random(1, 1, 5, 4, seed=1), v)
    torch.testing.assert_close(out[0, 0], v.mean(2)[0].expand(2, 4))


def test_bfloat16_is_near_float32():
    q, k, v = (random(2, 4, 9, 16, seed=i) for i in range(3))
    exact = attention(q, k, v, causal=True)
    for backend in ("plain", "sdpa"):
        low = attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), causal=True, backend=backend)
        assert low.dtype == torch.bfloat16
        assert (low.float() - exact).abs().max() < 0.03


def test_dropout_keeps_the_mean():
    q = torch.zeros(1, 1, 1, 2)
    k, v = torch.zeros(1, 1, 1000, 2), torch.ones(1, 1, 1000, 2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for backend in ("plain", "sdpa"):
            out = attention(q, k, v, backend=backend, dropout=0.5)
            assert 0.8 < out.mean() < 1.2
            assert out.mean() != 1


Q, K = torch.zeros(2, 4, 3, 8), torch.zeros(2, 2, 5, 8)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((None, K, K), {}),
        (([[1.0]], K, K), {}),
        ((Q[0], K, K), {}),
        ((Q.long(), K, K), {}),
        ((Q, K[:1], K[:1]), {}),
        ((Q[:, :3], K, K), {}),
        ((Q, K, K[:, :, :4]), {}),
        ((Q, K[..., :4], K), {}),
        ((Q, K[:, :0], K[:, :0]), {}),
        ((Q, K, K), {"mask": torch.ones(3, 4, dtype=torch.bool)}),
        ((Q, K, K), {"mask": torch.ones(3, 5)}),
        ((Q, K, K), {"mask": [True]}),
        ((Q, K, K), {"bias": torch.ones(3, 5, dtype=torch.bool)}),
        ((Q, K, K), {"bias": torch.ones(2, 2, 4, 3, 5)}),
        ((Q, K, K), {"scale": float("nan")}),
        ((Q, K, K), {"scale": "0.1"}),
        ((Q, K, K), {"dropout": 1.5}),
        ((Q, K, K), {"causal": 1}),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_bad_input_is_refused(arguments, options, backend):
    with pytest.raises(ValueError):
        attention(*arguments, **options, backend=backend)


@pytest.mark.parametrize("backend", ["cudnn", None, ["plain"]])
def test_an_unknown_backend_is_refused(backend):
    with pytest.raises(ValueError, match="backend must be one of"):
        attention(Q, K, K, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda b: attention(Q, K, K, torch.ones(3, 4, dtype=torch.bool), backend=b), ["(2, 4, 3, 5)", "(3, 4)"]),
        (lambda b: attention(Q, K, K, torch.ones(3, 5), backend=b), ["bool", "float32"]),
        (lambda b: attention(Q[:, :3], K, K, backend=b), ["H divisible by K", "(2, 3, 3, 8)", "(2, 2, 5, 8)"]),
        (lambda b: attention(Q, K, K[:, :, :4], backend=b), ["(2, 2, 5, 8)", "(2, 2, 4, 8)"]),
    ],
)  # fmt: skip
def test_errors_say_what_came_and_what_was_expected(call, said, backend):
    with pytest.raises(ValueError) as caught:
        call(backend)
    assert [part for part in said if part not in str(caught.value)] == []


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cached", [False, True])
def test_a_layer_refuses_a_mask_that_does_not_fit_and_leaves_its_cache(backend, cached):
    layer, x = MultiHeadAttention(16, 4, 2, causal=True), random(2, 3, 16)
    cache = KVCache(SimpleNamespace(num_layers=1, kv_heads=2, head_dim=4), 2, 6) if cached else None
    for mask in (torch.ones(3, 4, dtype=torch.bool), torch.ones(3, 3), [[True] * 3] * 3):
        with attention_backend(backend), pytest.raises(ValueError, match="mask must"):
            layer(x, mask=mask, cache=cache)
        assert cache is None or cache.length == 0


@pytest.mark.parametrize(
    "arguments",
    [
        (Q, K[..., :4]),
        (Q[:, :3], K),
        (Q, K, torch.ones(3, 5)),
        (Q, K, torch.ones(3, 4, dtype=torch.bool)),
        (None, K),
    ],
)
def test_weights_are_checked_as_attention_is(arguments):
    with pytest.raises(ValueError):
        attention_weights(*arguments)


@given(st.integers(1, 7), st.integers(0, 6), st.integers(1, 15))
def test_the_window_equals_its_definition(T, past, window):
    S = T + past
    expected = [[0 <= past + t - s < window for s in range(S)] for t in range(T)]
    assert window_mask(T, S, window).tolist() == expected


@pytest.mark.parametrize("window", [0, -1, 2.0, None, True])
def test_a_window_below_one_token_is_refused(window):
    with pytest.raises(ValueError, match="window"):
        window_mask(3, 3, window)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_window_with_a_cache_equals_torch_on_the_keys_in_it(backend):
    q, k, v = random(1, 2, 2, 4), random(1, 2, 7, 4, seed=1), random(1, 2, 7, 4, seed=2)
    found = attention(q, k, v, window_mask(2, 7, 3), causal=True, backend=backend)
    for t, keys in enumerate((slice(3, 6), slice(4, 7))):  # the queries are tokens 5 and 6
        alone = F.scaled_dot_product_attention(q[:, :, t : t + 1], k[:, :, keys], v[:, :, keys])
        torch.testing.assert_close(found[:, :, t : t + 1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_text_of_padding_alone_gives_zeros_and_leaves_the_others(backend):
    layer = MultiHeadAttention(16, 4)
    x = random(3, 5, 16).requires_grad_()
    tokens = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    with attention_backend(backend):
        y = layer(x, mask=padding_mask(tokens))
    torch.testing.assert_close(y[1], layer.o_proj.bias.expand(5, 16))  # o_proj of zeros
    torch.testing.assert_close(y[0, :3], layer(x[:1, :3])[0], atol=1e-6, rtol=1e-5)
    y.sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.fixture
def launches(monkeypatch):
    """Shapes of the queries that the kernel was asked for; it runs in Triton's interpreter if there is no GPU."""
    pytest.importorskip("triton")
    from kernels.flash_attention import flash_attention as kernel

    asked = []
    watched = lambda q, *x, **o: asked.append(q.shape) or kernel(q, *x, **o)  # noqa: E731
    monkeypatch.setattr(KERNELS["attention"], "_function", watched)
    return asked


SIZES = {"vocab_size": 50, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2}
LLAMA_SIZES = {
    "vocab_size": 50,
    "max_position_embeddings": 16,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_triton_runs_the_kernel_and_equals_torch(causal, scale, launches):
    q, k, v = (random(2, n, t, 8, seed=t).to(DEVICE).requires_grad_() for n, t in ((4, 5), (2, 7), (2, 7)))
    upstream = random(2, 4, 5, 8, seed=9).to(DEVICE)
    ours = attention(q, k, v, causal=causal, scale=scale, backend="triton")
    torchs = attention(q, k, v, causal=causal, scale=scale, backend="sdpa")
    torch.testing.assert_close(ours, torchs, atol=2e-6, rtol=1e-5)
    for x, y in zip(*(torch.autograd.grad(out, (q, k, v), upstream) for out in (ours, torchs))):
        torch.testing.assert_close(x, y, atol=2e-6, rtol=1e-5)
    assert launches == [(2, 4, 5, 8)]


@pytest.mark.parametrize(
    ("D", "dtype", "options"),
    [
        (8, torch.float32, {"mask": torch.ones(5, 7, dtype=torch.bool).tril()}),
        (8, torch.float32, {"bias": torch.ones(5, 7)}),
        (8, torch.float32, {"dropout": 1e-9}),
        (257, torch.float32, {}),
        (8, torch.float64, {}),
    ],
)
def test_triton_falls_back_to_torch_where_the_kernel_cannot_run(D, dtype, options, launches):
    q, k = random(2, 4, 5, D, dtype=dtype).to(DEVICE), random(2, 2, 7, D, seed=1, dtype=dtype).to(DEVICE)
    options = {name: x.to(DEVICE) if isinstance(x, torch.Tensor) else x for name, x in options.items()}
    out = attention(q, k, k, backend="triton", **options)
    torch.testing.assert_close(out, attention(q, k, k, backend="plain", **options))
    assert attention(q, k, k[..., :3], backend="triton").shape == (2, 4, 5, 3)
    assert launches == []


def test_triton_falls_back_without_a_gpu_interpreter_or_triton(launches, monkeypatch):
    expected = attention(Q, K, K, backend="sdpa")
    monkeypatch.setattr("kernels._checks.INTERPRETED", False)
    assert torch.equal(attention(Q, K, K, backend="triton"), expected)  # on a CPU
    monkeypatch.setattr("kernels._checks.INTERPRETED", True)
    from triton.runtime.interpreter import InterpreterBuilder

    monkeypatch.setattr(InterpreterBuilder, "bfloat16_mended", False, raising=False)  # as users have it
    low = attention(*(x.bfloat16() for x in (Q, K, K)), backend="triton")
    assert low.dtype == torch.bfloat16
    monkeypatch.setattr("minillm._kernels.INSTALLED", False)
    assert torch.equal(attention(Q, K, K, backend="triton"), expected)
    assert launches == []


def test_triton_narrows_under_autocast_as_torch_does(launches):
    q, k, v = (random(1, 2, t, 16, seed=t).to(DEVICE) for t in (5, 7, 7))
    with torch.autocast(DEVICE, torch.float16):
        ours, mixed = (attention(*x, backend="triton") for x in ((q, k, v), (q, k.half(), v.half())))
        torchs = attention(q, k, v, backend="sdpa")
    assert ours.dtype == mixed.dtype == torchs.dtype == torch.float16
    torch.testing.assert_close(ours, torchs, atol=2e-3, rtol=2e-3)
    assert len(launches) == 2


def test_triton_leaves_other_makers_gpus_to_torch(launches, monkeypatch):
    monkeypatch.setattr("kernels._checks.INTERPRETED", False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 4))
    q = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float16, shape=Q.shape)
    monkeypatch.setattr(torch.version, "hip", None)
    assert KERNELS["attention"].can_run(q, q, q)
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert not KERNELS["attention"].can_run(q, q, q)


def test_a_whole_model_takes_the_chosen_backend_and_gives_it_back(launches):
    model = GPT2(GPT2Config(**SIZES)).to(DEVICE).eval()
    ids = torch.arange(12, device=DEVICE).view(2, 6)
    with torch.no_grad():
        torchs = model(ids).logits
        with attention_backend("triton"), attention_backend("triton"):
            ours = model(ids).logits
        assert len(launches) == 2  # a layer each
        with pytest.raises(ZeroDivisionError), attention_backend("triton"):
            _ = 1 / 0
        torch.testing.assert_close(model(ids).logits, torchs, atol=0, rtol=0)
    torch.testing.assert_close(ours, torchs, atol=2e-6, rtol=1e-5)
    assert len(launches) == 2
    with pytest.raises(ValueError, match="backend must be one of"), attention_backend("cudnn"):
        pass


@pytest.mark.parametrize(
    "make", [lambda: GPT2(GPT2Config(**SIZES)), lambda: Llama(LlamaConfig(**LLAMA_SIZES))]
)
def test_one_switch_turns_on_the_kernels_of_a_whole_model(make, launches):
    model, ids = make().to(DEVICE), torch.arange(12, device=DEVICE).view(2, 6)
    results = {}
    for mode in ("never", "always"):
        model.zero_grad()
        with use_kernels(mode):
            logits = model(ids).logits
            logits.square().mean().backward()
        results[mode] = logits.detach(), [p.grad for p in model.parameters()]
    assert len(launches) == 2  # a layer each
    torch.testing.assert_close(results["always"], results["never"], atol=2e-6, rtol=1e-4)


def test_bad_input_is_refused_before_the_kernel(launches):
    with pytest.raises(ValueError):
        attention(Q, K[:1], K[:1], backend="triton")
    assert launches == []


def test_importing_the_layers_does_not_import_triton():
    code = "import sys, minillm.nn; print('triton' in sys.modules or 'kernels' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# Multi-head


def copy_projections(ours, weight, bias=None):
    """torch keeps q, k and v one below the other."""
    with torch.no_grad():
        for i, layer in enumerate((ours.q_proj, ours.k_proj, ours.v_proj)):
            layer.weight.copy_(weight.chunk(3)[i])
            if bias is not None:
                layer.bias.copy_(bias.chunk(3)[i])


def like_torch(width, heads):
    """torch's MultiheadAttention and ours with its weights."""
    theirs = torch.nn.MultiheadAttention(width, heads, batch_first=True)
    ours = MultiHeadAttention(width, heads)
    with torch.no_grad():
        copy_projections(ours, theirs.in_proj_weight, theirs.in_proj_bias.normal_())
        ours.o_proj.weight.copy_(theirs.out_proj.weight)
        ours.o_proj.bias.copy_(theirs.out_proj.bias.normal_())
    return ours, theirs


def test_multi_head_equals_torch_self_and_cross_with_padding():
    ours, theirs = like_torch(24, 3)
    x, context = random(2, 5, 24), random(2, 7, 24, seed=1)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours(x, context), theirs(x, context, context)[0], atol=1e-6, rtol=1e-5)
    hidden = torch.zeros(2, 7, dtype=torch.bool)
    hidden[1, 4:] = True
    expected = theirs(x, context, context, key_padding_mask=hidden)[0]
    torch.testing.assert_close(ours(x, context, padding_mask(~hidden)), expected, atol=1e-6, rtol=1e-5)
    causal = MultiHeadAttention(24, 3, causal=True)
    causal.load_state_dict(ours.state_dict())
    blocked = torch.ones(5, 5, dtype=torch.bool).triu(1)
    torch.testing.assert_close(causal(x), theirs(x, x, x, attn_mask=blocked)[0], atol=1e-6, rtol=1e-5)


def test_shared_key_heads_equal_repeated_ones():
    shared, full = MultiHeadAttention(16, 4, 2, bias=False), MultiHeadAttention(16, 4, bias=False)
    with torch.no_grad():
        full.q_proj.weight.copy_(shared.q_proj.weight)
        for one, many in ((shared.k_proj, full.k_proj), (shared.v_proj, full.v_proj)):
            many.weight.copy_(one.weight.view(2, 4, 16).repeat_interleave(2, 0).reshape(16, 16))
        full.o_proj.weight.copy_(shared.o_proj.weight)
    x = random(2, 6, 16)
    torch.testing.assert_close(shared(x), full(x))


@pytest.mark.parametrize("causal", [False, True])
def test_the_ladder_ends_at_multi_head_attention(causal):
    ladder = ManyHeads(16, 4, causal=causal)
    layer = MultiHeadAttention(16, 4, bias=False, causal=causal)
    with torch.no_grad():
        parts = [[getattr(head, name).weight for head in ladder.heads] for name in ("query", "key", "value")]
        copy_projections(layer, torch.cat([torch.cat(part) for part in parts]))
        layer.o_proj.weight.copy_(ladder.mix.weight)
    x = random(2, 6, 16)
    torch.testing.assert_close(ladder(x), layer(x), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("causal", [False, True])
def test_grouped_heads_equal_the_layer_and_torch(kv_heads, causal):
    ladder = GroupedHeads(16, 4, kv_heads, causal=causal)
    layer = MultiHeadAttention(16, 4, kv_heads, bias=False, causal=causal)
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True, bias=False)
    count = lambda module: sum(part.numel() for part in module.parameters())  # noqa: E731
    assert count(ladder) == count(layer)
    every = [[getattr(head, name).weight for head in ladder.heads] for name in ("query", "key", "value")]
    group = 4 // kv_heads
    with torch.no_grad():
        layer.q_proj.weight.copy_(torch.cat(every[0]))
        layer.k_proj.weight.copy_(torch.cat(every[1][::group]))
        layer.v_proj.weight.copy_(torch.cat(every[2][::group]))
        theirs.in_proj_weight.copy_(torch.cat([torch.cat(part) for part in every]))
        layer.o_proj.weight.copy_(ladder.mix.weight)
        theirs.out_proj.weight.copy_(ladder.mix.weight)
    x = random(2, 6, 16)
    torch.testing.assert_close(ladder(x), layer(x), atol=1e-6, rtol=1e-5)
    blocked = torch.ones(6, 6, dtype=torch.bool).triu(1) if causal else None
    torch.testing.assert_close(ladder(x), theirs(x, x, x, attn_mask=blocked)[0], atol=1e-6, rtol=1e-5)


def test_training_grouped_heads_keeps_them_shared():
    ladder = GroupedHeads(8, 4, 2)
    optimizer = torch.optim.SGD(ladder.parameters(), lr=0.1)
    before = ladder.heads[0].key.weight.clone()
    ladder(random(2, 3, 8)).square().sum().backward()
    optimizer.step()
    assert ladder.heads[1].key.weight is ladder.heads[0].key.weight
    assert ladder.heads[2].key.weight is not ladder.heads[0].key.weight
    assert not torch.equal(ladder.heads[1].key.weight, before)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize(("T", "S"), [(5, 9), (7, 3), (1, 4), (4, 4)])
def test_cross_heads_equal_the_layer_and_torch(heads, T, S):
    ladder = [CrossHead(16, 16 // heads) for _ in range(heads)]
    layer = MultiHeadAttention(16, heads, bias=False)
    theirs = torch.nn.MultiheadAttention(16, heads, batch_first=True, bias=False)
    with torch.no_grad():
        every = [torch.cat([getattr(head, n).weight for head in ladder]) for n in ("query", "key", "value")]
        theirs.in_proj_weight.copy_(torch.cat(every))
        copy_projections(layer, theirs.in_proj_weight)
        layer.o_proj.weight.copy_(theirs.out_proj.weight)
    x, context = random(2, T, 16), random(2, S, 16, seed=1)
    mixed = theirs.out_proj(torch.cat([head(x, context) for head in ladder], dim=-1))
    expected, weights = theirs(x, context, context, average_attn_weights=False)
    torch.testing.assert_close(mixed, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(mixed, layer(x, context), atol=1e-6, rtol=1e-5)
    maps = torch.stack([head.weights(x, context) for head in ladder], dim=1)  # (B, H, T, S)
    torch.testing.assert_close(maps, weights, atol=1e-6, rtol=1e-5)


def test_heads_of_the_ladder():
    one, causal = OneHead(8, 4), CausalHead(8, 4)
    causal.load_state_dict(one.state_dict())
    x = random(1, 5, 8)
    torch.testing.assert_close(one.weights(x).sum(-1), torch.ones(1, 5))
    assert causal.weights(x).triu(1).abs().max() == 0
    changed = x.clone()
    changed[:, 3:] += 1
    assert torch.equal(causal(x)[:, :3], causal(changed)[:, :3])
    assert not torch.equal(one(x)[:, :3], one(changed)[:, :3])


def test_alibi_equals_its_closed_form():
    assert ALiBi(4).slopes.tolist() == [2**-2, 2**-4, 2**-6, 2**-8]
    bias = ALiBi(2)(2, 3)
    assert bias.shape == (1, 2, 2, 3)
    assert bias[0, 0].tolist() == [[-(2**-4), 0.0, -(2**-4)], [-2 * 2**-4, -(2**-4), 0.0]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: MultiHeadAttention(10, 3),
        lambda: MultiHeadAttention(12, 4, 3),
        lambda: MultiHeadAttention(12, 0),
        lambda: MultiHeadAttention(12.0, 4),
        lambda: MultiHeadAttention(16, 4, position="rope"),
        lambda: MultiHeadAttention(16, 4, position=RoPE(8)),
        lambda: MultiHeadAttention(16, 4, position=ALiBi(2)),
        lambda: MultiHeadAttention(16, 4)(torch.zeros(2, 16)),
        lambda: MultiHeadAttention(16, 4)(torch.zeros(2, 3, 8)),
        lambda: MultiHeadAttention(16, 4)(None),
        lambda: MultiHeadAttention(16, 4, causal=True)(torch.zeros(1, 2, 16), torch.zeros(1, 3, 16)),
        lambda: OneHead(0, 4),
        lambda: OneHead(8, 4)(torch.zeros(2, 8)),
        lambda: CausalHead(8, 4)(torch.zeros(2, 3, 7)),
        lambda: CausalHead(8, 4)(torch.zeros(8)),
        lambda: ManyHeads(10, 3),
        lambda: ManyHeads(8, 2)(torch.zeros(2, 3, 8).long()),
        lambda: GroupedHeads(12, 4, 3),
        lambda: GroupedHeads(12, 4, 0),
        lambda: GroupedHeads(12, 5, 1),
        lambda: CrossHead(8, 4)(torch.zeros(2, 3, 8), torch.zeros(2, 3, 7)),
        lambda: CrossHead(8, 4)(torch.zeros(2, 3, 8), torch.zeros(3, 3, 8)),
        lambda: CrossHead(8, 4)(torch.zeros(2, 3, 8), None),
        lambda: MultiHeadAttention(16, 4)(torch.zeros(2, 3, 16), torch.zeros(3, 3, 16)),
        lambda: OneHead(8, 4)(torch.zeros(2, 3, 8).double()),
        lambda: CrossHead(8, 4)(torch.zeros(2, 3, 8), torch.zeros(2, 3, 8).half()),
        lambda: ManyHeads(8, 2, "no"),
        lambda: MultiHeadAttention(16, 4, out_bias=1),
        lambda: softmax_rows(torch.tensor(1.0)),
        lambda: softmax_rows([1.0]),
        lambda: causal_mask(-1, 3),
        lambda: causal_mask(2, 3.0),
        lambda: window_mask(3, -3, 2),
        lambda: attention_scores(torch.zeros(3, 2, 1, 4), torch.zeros(1, 2, 5, 4)),
        lambda: attention_weights(torch.zeros(1, 2, 1, 4), torch.zeros(1, 2, 5, 4), scale=math.nan),
        lambda: plain_attention(torch.zeros(1, 3, 1, 4), torch.zeros(1, 2, 5, 4), torch.zeros(1, 2, 5, 4)),
        lambda: padding_mask(torch.tensor([[0, 2]])),
        lambda: padding_mask([1, 1]),
        lambda: plain_attention and attention(None, None, None),
    ],
)
def test_bad_layers_and_calls_are_refused(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize("backend", ["plain", "sdpa", "auto"])
def test_no_keys_no_tokens_and_other_dtypes(backend):
    q, none = torch.ones(1, 2, 3, 8), torch.ones(1, 2, 0, 8)
    assert attention(q, none, none, backend=backend).count_nonzero() == 0
    assert attention(none, q, q, backend=backend).shape == (1, 2, 0, 8)
    with pytest.raises(ValueError, match="one dtype"):
        attention(q, q, q.double(), backend=backend)
    with pytest.raises(ValueError, match="D at least 1"):
        attention(q[..., :0], q[..., :0], q, backend=backend)
    with torch.autocast("cpu", torch.bfloat16):  # it narrows them all
        assert attention(q, q.bfloat16(), q, backend=backend).shape == q.shape


def test_one_compiled_graph_follows_a_scale_that_changes():
    compiled = torch.compile(
        lambda q, scale: attention(q, q, q, scale=scale), fullgraph=True, backend="aot_eager"
    )
    q = torch.randn(1, 2, 5, 8, generator=torch.Generator().manual_seed(0))
    for scale in (0.1, 0.2, 0.3):
        torch.testing.assert_close(compiled(q, scale), attention(q, q, q, scale=scale))


@pytest.mark.filterwarnings("error::UserWarning")
def test_triton_is_compiled_whole(launches):
    compiled = torch.compile(
        lambda q: attention(q, q, q, backend="triton"), fullgraph=True, backend="aot_eager"
    )
    q = random(1, 2, 5, 16).to(DEVICE)
    torch.testing.assert_close(compiled(q), attention(q, q, q, backend="plain"))
    assert len(launches) == 1
