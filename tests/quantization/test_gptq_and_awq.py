"""GPTQ and AWQ against their papers' equations in numpy, and on whole models against what hooks see."""

import numpy as np
import pytest
import torch
from torch import nn

from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig
from minillm.quantization import GroupLinear, gptq, quantize, round_to_nearest
from minillm.quantization.awq import awq_clip, awq_scales
from minillm.quantization.calibrated import fold
from minillm.quantization.gptq import gptq_plain
from minillm.quantization.groups import fit_grid

IDS = torch.randint(0, 31, (300,), generator=torch.Generator().manual_seed(3))


def layer_and_inputs(rows=12, columns=40, tokens=300, seed=0):
    """A weight and inputs that hang together, of very different sizes: float64 arrays."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(columns, columns)) * rng.lognormal(size=columns)
    return rng.normal(size=(rows, columns)), rng.normal(size=(tokens, columns)) @ mix


def grid_of(group, bits, symmetric):
    """(scale, zero) of some columns of one row, as the papers have them."""
    low, high, top = min(group.min(), 0), max(group.max(), 0), 2**bits - 1
    if symmetric:
        return 2 * max(high, -low) / top, 2 ** (bits - 1)
    scale = (high - low) / top
    return scale, np.round(-low / scale)


def nearest(w, scale, zero, bits):
    return (np.clip(np.round(w / scale) + zero, 0, 2**bits - 1) - zero) * scale


def gptq_by_equations(W, X, bits, size, act_order, symmetric, damping=0.01):
    """Optimal brain quantization in GPTQ's order, equations 2 and 3; H of the columns left is inverted anew."""
    W = W.copy()
    H = X.T @ X / len(X)
    H += damping * np.diag(H).mean() * np.eye(len(H))
    order = np.argsort(-np.diag(H), kind="stable") if act_order else np.arange(len(H))
    grids = {}
    if act_order:
        for row in range(len(W)):
            for g in range(0, W.shape[1], size):
                grids[row, g // size] = grid_of(W[row, g : g + size], bits, symmetric)
    Q = np.zeros_like(W)
    for place, q in enumerate(order):
        left = order[place:]
        inverse = np.linalg.inv(H[np.ix_(left, left)])
        for row in range(len(W)):
            if not act_order and q % size == 0:
                grids[row, q // size] = grid_of(W[row, q : q + size], bits, symmetric)
            Q[row, q] = nearest(W[row, q], *grids[row, q // size], bits)
            W[row, left] -= (W[row, q] - Q[row, q]) / inverse[0, 0] * inverse[0]
    return Q


@pytest.mark.parametrize("act_order", [True, False])
@pytest.mark.parametrize(
    ("bits", "size", "symmetric"), [(4, 8, False), (3, 16, True), (2, 40, False), (8, 12, False)]
)
def test_gptq_equals_the_papers_equations(bits, size, symmetric, act_order):
    W, X = layer_and_inputs()
    expected = gptq_by_equations(W.astype(np.float32).astype(float), X, bits, size, act_order, symmetric)
    hessian = torch.from_numpy(X.T @ X / len(X))
    found = gptq(torch.from_numpy(W).float(), hessian, bits, size, act_order, symmetric)
    np.testing.assert_allclose(found.dequantize(), expected, rtol=1e-5, atol=1e-5)


def test_lazy_blocks_change_nothing():
    W, X = layer_and_inputs(columns=300, tokens=2000)
    W, hessian = torch.from_numpy(W).float(), torch.from_numpy(X.T @ X / len(X))
    order = torch.argsort(hessian.diagonal(), descending=True, stable=True)
    plain = gptq_plain(W.double(), hessian, fit_grid(W.double(), 4, 32), order)
    assert torch.equal(gptq(W, hessian, 4, 32).codes, plain)


def error(found, W, X):
    """‖(W - Q) xᵀ‖² over the inputs."""
    return (((found.double().numpy() - W) @ X.T) ** 2).sum()


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_gptq_makes_the_layers_error_smaller_than_rounding_does(bits):
    for seed in range(5):
        W, X = layer_and_inputs(columns=64, seed=seed)
        weight, hessian = torch.from_numpy(W).float(), torch.from_numpy(X.T @ X / len(X))
        rounded = error(round_to_nearest(weight, bits, 16).dequantize(), W, X)
        assert error(gptq(weight, hessian, bits, 16).dequantize(), W, X) < 0.8 * rounded


def test_columns_that_are_never_used_become_zero_and_trouble_nobody():
    W, X = layer_and_inputs()
    X[:, 5] = 0
    found = gptq(torch.from_numpy(W).float(), torch.from_numpy(X.T @ X / len(X)), 4, 8)
    assert (found.dequantize()[:, 5] == 0).all()
    assert found.dequantize().isfinite().all()


@pytest.mark.parametrize(
    ("hessian", "options", "word"),
    [
        (torch.eye(3), {}, "a row for each input"),
        (-torch.eye(4), {}, "diagonal"),
        (torch.eye(4) + torch.ones(4, 4).triu(), {}, "symmetric"),
        (torch.full((4, 4), float("nan")), {}, "NaN"),
        (2 * torch.ones(4, 4) - torch.eye(4), {}, "no mean of x"),
        (torch.eye(4), {"bits": 9}, "bits"),
        (torch.eye(4), {"group_size": 0}, "group_size"),
        (torch.eye(4), {"damping": 0.0}, "damping"),
        (torch.eye(4), {"act_order": 1}, "act_order"),
    ],
)
def test_bad_arguments_of_gptq(hessian, options, word):
    with pytest.raises(ValueError, match=word):
        gptq(torch.ones(2, 4), hessian, **options)


def test_awq_finds_the_factors_of_a_search_on_the_inputs_themselves():
    W, X = layer_and_inputs(rows=10, columns=32)
    W2 = W[::-1] * 0.5
    size, best = np.abs(X).mean(0), (np.inf, None, None)
    for step in range(20):
        s = size ** (step / 20)
        s = s / np.sqrt(s.max() * s.min())
        loss = 0.0
        for weight in (W, W2):
            Q = np.array([
                np.concatenate([
                    nearest(w[g : g + 8], *grid_of(w[g : g + 8], 4, False), 4) for g in range(0, 32, 8)
                ]) for w in weight * s
            ])  # fmt: skip
            loss += ((X @ (Q / s - weight).T) ** 2).sum()  # equation 4
        if loss < best[0]:
            best = loss, s, step / 20
    weights = [torch.from_numpy(weight.copy()) for weight in (W, W2)]
    s, alpha = awq_scales(weights, torch.from_numpy(X.T @ X / len(X)), torch.from_numpy(size), 4, 8)
    assert alpha == best[2] > 0
    np.testing.assert_allclose(s, best[1], rtol=1e-9)


def test_clipping_takes_the_share_with_the_least_error_of_each_group():
    W, X = layer_and_inputs(rows=6, columns=24)
    H = X.T @ X / len(X)
    expected = W.copy()
    for row in range(6):
        for g in range(0, 24, 8):
            w, tries = W[row, g : g + 8], []
            for step in range(10):
                limit = np.abs(w).max() * (1 - step / 20)
                cut = np.clip(w, -limit, limit)
                difference = nearest(cut, *grid_of(cut, 3, False), 3) - w
                tries.append((((X[:, g : g + 8] @ difference) ** 2).mean(), step, cut))
            expected[row, g : g + 8] = min(tries, key=lambda one: one[:2])[2]
    found = awq_clip(torch.from_numpy(W), torch.from_numpy(H), 3, 8)
    np.testing.assert_allclose(found, expected)
    assert (found != torch.from_numpy(W)).any()


@pytest.mark.parametrize("norm", [nn.LayerNorm(16), nn.RMSNorm(16), nn.Linear(5, 16)])
def test_folded_factors_change_no_output(norm):
    layers = [nn.Linear(16, 7), nn.Linear(16, 3)]
    x = torch.randn(9, 5 if isinstance(norm, nn.Linear) else 16)
    with torch.no_grad():
        before = [layer(norm(x)) for layer in layers]
        fold(torch.rand(16) + 0.5, norm, layers)
        for layer, expected in zip(layers, before):
            torch.testing.assert_close(layer(norm(x)), expected, rtol=1e-4, atol=1e-5)


def model_of(kind):
    sizes = {"vocab_size": 31, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    if kind == "gpt2":
        return GPT2(GPT2Config(vocab_size=31, n_embd=32, n_layer=2, n_head=2, n_positions=32), seed=1)
    heads = {
        "num_attention_heads": 4,
        "max_position_embeddings": 32,
        "num_key_value_heads": 4 if kind == "heads" else 2,
    }
    extra = {"model_type": "mistral", "sliding_window": 7} if kind == "windows" else {}
    return Llama(LlamaConfig(**sizes, **heads, **extra), seed=1)


def seen_by(model, name):
    """Mean of x xᵀ of what reaches a layer when the windows pass through the whole model."""
    rows = []
    handle = model.get_submodule(name).register_forward_pre_hook(
        lambda _, given: rows.append(given[0].flatten(0, -2))
    )
    with torch.no_grad():
        model.eval()(IDS[:288].view(9, 32))
    handle.remove()
    x = torch.cat(rows)
    return x.T @ x / len(x)


@pytest.mark.parametrize("sequential", [True, False])
@pytest.mark.parametrize("kind", ["gpt2", "shared", "windows"])
def test_a_models_layers_are_gptq_of_what_reaches_them(kind, sequential):
    model = model_of(kind)
    small = quantize(model, "gptq", 4, 16, IDS, sequential=sequential)
    for name in (
        "body.blocks.0.attention.q_proj",
        "body.blocks.1.attention.o_proj",
        "body.blocks.1.feed_forward.down_proj",
    ):
        # what reaches the layer in the quantized model is what it was fitted to
        second = seen_by(small if sequential else model, name)
        weight, got = model.get_submodule(name).weight, small.get_submodule(name).dequantize()
        expected = gptq(weight, second, 4, 16).dequantize()
        # H is summed in another order: a code on the border may fall to the other side
        assert (got - expected).abs().gt(1e-6).float().mean() < 0.02


@pytest.mark.parametrize("kind", ["gpt2", "shared", "heads"])
def test_awq_before_rounding_is_the_same_model(kind, monkeypatch):
    """With codes of 8 bits a weight and no clipping to speak of, folding is all that is left."""
    model = model_of(kind)
    small = quantize(model, "awq", 8, 4, IDS)
    with torch.no_grad():
        expected, got = model.eval()(IDS[:30][None]).logits, small(IDS[:30][None]).logits
    assert (got - expected).norm() < 0.02 * expected.norm()
    assert not torch.equal(small.body.blocks[0].norm1.weight, model.body.blocks[0].norm1.weight)
    blocks = small.body.blocks
    for layer in (blocks[1].attention.k_proj, blocks[0].feed_forward.up_proj):
        assert isinstance(layer, GroupLinear)


def test_calibration_takes_ids_rows_and_texts():
    class Letters:
        def encode(self, text):
            return [ord(letter) % 31 for letter in text]

    model, text = model_of("shared"), "the quick brown fox jumps over the lazy dog " * 8
    ids = Letters().encode(text)
    made = [
        quantize(model, "gptq", 4, 16, ids),
        quantize(model, "gptq", 4, 16, torch.tensor(ids)),
        quantize(model, "gptq", 4, 16, [ids[:50], ids[50:]]),
        quantize(model, "gptq", 4, 16, text, tokenizer=Letters()),
        quantize(model, "gptq", 4, 16, [text[:10], text[10:]], tokenizer=Letters()),
    ]
    with torch.no_grad():
        logits = [one(IDS[:9][None]).logits for one in made]
    assert all(torch.equal(one, logits[0]) for one in logits)


@pytest.mark.parametrize("damping", [1e-4, 0.3, 1.0])
@pytest.mark.parametrize("tokens", [1, 7, 39])
def test_fewer_tokens_than_columns(tokens, damping):
    """H has no inverse of its own; damping gives it one."""
    W, X = layer_and_inputs(tokens=tokens)
    assert np.linalg.matrix_rank(X.T @ X) < len(X.T)
    expected = gptq_by_equations(W.astype(np.float32).astype(float), X, 4, 8, True, False, damping)
    hessian = torch.from_numpy(X.T @ X / len(X))
    found = gptq(torch.from_numpy(W).float(), hessian, 4, 8, damping=damping).dequantize()
    # sums over a nearly singular matrix: a code on the border may fall to the other side
    assert (found - torch.from_numpy(expected)).abs().gt(1e-4).float().mean() < 0.02


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_named(bad):
    weight = torch.ones(2, 4)
    weight[1, 2] = bad
    with pytest.raises(ValueError, match="weight must hold finite"):
        gptq(weight, torch.eye(4))
    with pytest.raises(ValueError, match="weight must hold finite"):
        awq_scales([weight], torch.eye(4), torch.ones(4))
    with pytest.raises(ValueError, match="weight must hold finite"):
        awq_clip(weight, torch.eye(4))
    with pytest.raises(ValueError, match="second must hold finite"):
        awq_clip(torch.ones(2, 4), torch.eye(4) * bad)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (([], torch.eye(4), torch.ones(4)), "at least one"),
        (([torch.ones(2, 3)], torch.eye(4), torch.ones(4)), "second"),
        (([torch.ones(4)], torch.eye(4), torch.ones(4)), "weight"),
        (([torch.ones(2, 4)], torch.eye(4), torch.ones(3)), "size"),
        (([torch.ones(2, 4)], torch.eye(4), -torch.ones(4)), "size"),
        (([torch.ones(2, 4)], -torch.eye(4), torch.ones(4)), "second must be symmetric"),
        (([torch.ones(2, 4)], torch.eye(4).roll(1, 0), torch.ones(4)), "second must be symmetric"),
        (([torch.ones(2, 4)], torch.eye(4), torch.ones(4), 1), "bits"),
        (([torch.ones(2, 4)], torch.eye(4), torch.ones(4), 4, 0), "group_size"),
    ],
)
def test_bad_arguments_of_awq(arguments, word):
    with pytest.raises(ValueError, match=word):
        awq_scales(*arguments)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_awq_takes_weights_of_any_float_dtype(dtype):
    """Checkpoints come in bfloat16, moments in float32: mixed as they come."""
    W, X = layer_and_inputs(rows=6, columns=32)
    weight, second = torch.from_numpy(W).to(dtype), torch.from_numpy(X.T @ X / len(X)).float()
    s, _ = awq_scales([weight, weight.float()], second, torch.from_numpy(np.abs(X).mean(0)).float(), 4, 8)
    assert s.dtype == torch.float32 or dtype == torch.float64
    assert s.isfinite().all()
    assert awq_clip(weight, second, 4, 8).isfinite().all()
    model = model_of("shared").to(dtype)
    quantized = quantize(model, "awq", 8, 16, IDS)
    scores, expected = quantized(IDS[None, :32]).logits, model(IDS[None, :32]).logits
    assert scores.dtype == dtype
    assert (scores - expected).norm() < 0.1 * expected.norm()


@pytest.mark.parametrize("method", ["gptq", "awq"])
@pytest.mark.parametrize("nothing", [None, [], "", torch.empty(0, dtype=torch.long), [[]]])
def test_calibration_on_nothing(method, nothing):
    class Letters:
        def encode(self, text):
            return [ord(letter) % 31 for letter in text]

    with pytest.raises(ValueError, match="calibration"):
        quantize(model_of("shared"), method, 4, 16, nothing, tokenizer=Letters())


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_a_model_that_makes_no_numbers_is_refused(method):
    model = model_of("shared")
    with torch.no_grad():
        model.body.blocks[0].norm1.weight[3] = float("nan")
    with pytest.raises(ValueError, match="inf or NaN"):
        quantize(model, method, 4, 16, IDS)


def test_the_hessian_that_is_given_stays_as_it_is():
    hessian = torch.eye(4, dtype=torch.float64)
    hessian[2, 2] = 0
    before = hessian.clone()
    gptq(torch.ones(2, 4), hessian)
    assert torch.equal(hessian, before)
