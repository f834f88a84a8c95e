"""Norms, feed-forward, linear and blocks against torch and closed forms."""

import copy
import math

import pytest
import torch

from minillm.nn import (
    BatchNorm,
    DecoderBlock,
    EncoderBlock,
    FeedForward,
    LayerNorm,
    MultiHeadAttention,
    RMSNorm,
    SwiGLU,
    fast_cpu,
    gelu_plain,
    gelu_tanh_plain,
    layer_norm_plain,
    rms_norm_plain,
)
from minillm.nn.fast_cpu import fast_gelu, fast_layers
from tests.nn.test_attention import copy_projections


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_layer_norm_equals_torch_and_its_formula():
    ours, theirs, x = LayerNorm(12), torch.nn.LayerNorm(12), random(3, 4, 12) * 5 + 2
    assert torch.equal(ours(x), theirs(x))
    torch.testing.assert_close(layer_norm_plain(x, ours.weight, ours.bias, 1e-5), theirs(x))
    assert LayerNorm(12, bias=False).bias is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_rms_norm_and_its_gradient_equal_torch(dtype):
    weight = (1 + 0.1 * random(12, seed=1)).to(dtype).requires_grad_()
    x = (random(3, 4, 12) * 5).to(dtype).requires_grad_()
    grad = random(3, 4, 12, seed=2).to(dtype)
    results = []
    layer = RMSNorm(12)
    layer.weight = torch.nn.Parameter(weight.detach())
    for run in (
        lambda x, w, eps: torch.func.functional_call(layer, {"weight": w}, (x,)),
        rms_norm_plain,
        lambda x, w, eps: torch.nn.functional.rms_norm(x, (12,), w, eps),
    ):
        x.grad = weight.grad = None
        out = run(x, weight, 1e-6)
        out.backward(grad)
        results.append((out.detach(), x.grad, weight.grad))
    tolerance = {torch.bfloat16: 3e-2}.get(dtype, 1e-5)
    for ours in results[:2]:
        for mine, torchs in zip(ours, results[2]):
            assert mine.dtype == dtype
            torch.testing.assert_close(mine, torchs, atol=tolerance, rtol=tolerance)
    with torch.no_grad():
        torch.testing.assert_close(RMSNorm(12)(x.float()), torch.nn.RMSNorm(12, eps=1e-6)(x.float()))


def test_rms_norm_has_second_derivatives():
    layer, x = RMSNorm(5).double(), random(2, 5).double().requires_grad_()
    assert torch.autograd.gradgradcheck(layer, (x,))


def test_batch_norm_equals_torch_training_and_evaluating():
    ours, theirs = BatchNorm(6), torch.nn.BatchNorm1d(6)
    for seed in range(3):
        x = random(5, 7, 6, seed=seed) * 3 + 1
        expected = theirs(x.transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(ours(x), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x), theirs(x.transpose(1, 2)).transpose(1, 2), atol=1e-5, rtol=1e-5)


def test_gelu_formulas_equal_torch_and_their_gradients_too():
    x = torch.linspace(-6, 6, 101, dtype=torch.float64, requires_grad=True)
    for plain, approximate in ((gelu_plain, "none"), (gelu_tanh_plain, "tanh")):
        for found, expected in zip(
            (plain(x), *torch.autograd.grad(plain(x).sum(), x)),
            (
                torch.nn.functional.gelu(x, approximate=approximate),
                *torch.autograd.grad(torch.nn.functional.gelu(x, approximate=approximate).sum(), x),
            ),
        ):
            torch.testing.assert_close(found, expected)
    assert gelu_plain(torch.tensor(1.0)) == pytest.approx(0.8413447)  # the share of a normal below 1
    assert (gelu_plain(x) - gelu_tanh_plain(x)).abs().max() < 5e-4  # as the docstring says


def test_gelu_new_equals_the_formula_of_gpt2():
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)
    layer = FeedForward(1, 1, "gelu_new", bias=False).double()
    with torch.no_grad():
        layer.up_proj.weight.fill_(1), layer.down_proj.weight.fill_(1)
    formula = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    torch.testing.assert_close(layer(x[:, None])[:, 0], formula)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("shape", "learning"),
    [((1, 1, 512), False), ((512,), False), ((2, 150, 512), True), ((2, 150, 512), False)],
)
@pytest.mark.parametrize("at_home", [True, False])
def test_fast_layers_equals_float64_and_is_taken_back(bias, shape, learning, at_home, monkeypatch):
    monkeypatch.setattr(fast_cpu, "MKL_AT_HOME", at_home)  # as on an Intel CPU, and as on others
    model = torch.nn.Sequential(torch.nn.Linear(512, 256, bias=bias))
    exact = copy.deepcopy(model).double()
    x, grad = random(*shape).requires_grad_(learning), random(*shape[:-1], 256, seed=1)
    wide = x.detach().double().requires_grad_(learning)
    with fast_layers(model), fast_layers(model), torch.set_grad_enabled(learning):
        found, expected = model(x), exact(wide)
        if learning:
            other_way = torch.backends.mkldnn.is_available() and not at_home
            assert ("OneDNN" in type(found.grad_fn).__name__) is other_way
            found.backward(grad)
            expected.backward(grad.double())
    pairs = [(found, expected)]
    if learning:
        pairs += [(x.grad, wide.grad)] + [
            (p.grad, q.grad) for p, q in zip(model.parameters(), exact.parameters())
        ]
    for a, b in pairs:
        assert a.dtype == torch.float32
        assert a.shape == b.shape
        assert (a - b).norm() <= 1e-6 * b.norm()
    assert torch.equal(model(x), torch.nn.functional.linear(x, model[0].weight, model[0].bias))
    assert "forward" not in vars(model[0])


def test_fast_layers_leaves_everything_else_to_torch():
    class Louder(torch.nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = torch.nn.ModuleDict({"plain": torch.nn.Linear(512, 258), "louder": Louder(512, 256)})
    x = random(1, 512)
    torchs = {name: layer(x) for name, layer in model.items()}
    with fast_layers(model), torch.no_grad():
        assert all(torch.equal(model[name](x), torchs[name]) for name in model)  # 258 is not divisible by 4
        with torch.autocast("cpu", torch.bfloat16):
            assert model["plain"](x).dtype == torch.bfloat16
        assert model.double()["plain"](x.double()).dtype == torch.float64
    with pytest.raises(RuntimeError), fast_layers(model.float()):
        model["plain"](random(258, 511))
    assert "forward" not in vars(model["plain"])


def test_fast_layers_leaves_a_forward_that_somebody_else_put_in():
    model = torch.nn.Sequential(torch.nn.Linear(512, 256))
    x = random(1, 512)
    with fast_layers(model), torch.no_grad():
        ours = model[0].forward
        model[0].forward = lambda x: 2 * ours(x)
        inside = model(x)
    torch.testing.assert_close(model(x), inside)
    torch.testing.assert_close(model(x), 2 * torch.nn.functional.linear(x, model[0].weight, model[0].bias))


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14), (torch.bfloat16, 4e-3)]
)
def test_fast_gelu_and_its_gradient_equal_torch(dtype, tolerance, monkeypatch):
    monkeypatch.setattr("minillm.nn.fast_cpu.AT_A_TIME", 70)
    x = torch.linspace(-9, 9, 300).to(dtype).view(3, 4, 25).transpose(0, 2).requires_grad_()  # not contiguous
    grad = random(25, 4, 3).to(dtype)
    exact = x.detach().double().requires_grad_()
    found, expected = fast_gelu(x), torch.nn.functional.gelu(exact, approximate="tanh")
    found.backward(grad)
    expected.backward(grad.double())
    assert found.dtype == x.grad.dtype == dtype
    for ours, theirs in ((found, expected), (x.grad, exact.grad)):
        assert (ours.double() - theirs).norm() <= tolerance * theirs.norm()
    big = torch.tensor([-1e4, 1e4], dtype=dtype).requires_grad_()
    fast_gelu(big).sum().backward()
    assert fast_gelu(big).tolist()[0] == 0
    assert big.grad.tolist() == [0, 1]


def test_a_feed_forward_takes_the_fast_gelu_and_gives_it_back():
    layers = [FeedForward(4, activation="gelu_new"), FeedForward(4, activation="gelu")]
    model, x = torch.nn.ModuleList(layers), random(2, 4).requires_grad_()
    usual = [layer(x) for layer in layers]
    before = [layer.activation for layer in layers]
    with fast_layers(model), fast_layers(model):
        fast = [layer(x) for layer in layers]
        assert layers[0].activation is fast_gelu
    torch.testing.assert_close(fast, usual)
    assert [layer.activation for layer in layers] == before


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm])
def test_norms_of_a_pre_norm_block_are_narrowed_once_under_autocast(norm):
    block, post = (DecoderBlock(8, 2, norm=norm, pre_norm=pre) for pre in (True, False))
    x = random(2, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        usual, dtype = block(x), block.norm1(x).dtype
        with fast_layers(block), fast_layers(post), torch.no_grad():
            assert block.norm1(x).dtype == block.norm2(x).dtype == torch.bfloat16
            assert post.norm1(x).dtype == dtype
            assert torch.equal(block(x), usual)  # what follows narrows it anyway
        assert block.norm1(x).dtype == dtype
    with fast_layers(block):
        assert block.norm1(x).dtype == torch.float32


def test_swiglu_equals_its_formula():
    layer, x = SwiGLU(6, 10), random(2, 3, 6)
    gate, up = x @ layer.gate_proj.weight.T, x @ layer.up_proj.weight.T
    torch.testing.assert_close(layer(x), (gate * torch.sigmoid(gate) * up) @ layer.down_proj.weight.T)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LayerNorm(0),
        lambda: LayerNorm(4)(random(2, 5)),
        lambda: RMSNorm(4)(torch.zeros(4, dtype=torch.long)),
        lambda: RMSNorm(4, eps=-1.0),
        lambda: BatchNorm(4)(random(1, 4)),
        lambda: FeedForward(4, activation="mish"),
        lambda: FeedForward(4)(random(3)),
        lambda: SwiGLU(4, 0),
        lambda: EncoderBlock(10, 3),
        lambda: DecoderBlock(8, 2)(random(1, 2, 8), random(1, 2, 8)),
        lambda: DecoderBlock(8, 2, cross=True)(random(1, 2, 8)),
        lambda: DecoderBlock(8, 2, cross_attention="yes"),
        lambda: EncoderBlock(8, 2, dropout=2.0),
        lambda: LayerNorm(4)(random(2, 4).double()),
        lambda: BatchNorm(4)(random(3, 4).double()),
        lambda: layer_norm_plain(random(2, 4), torch.ones(1), None, 1e-5),
        lambda: layer_norm_plain(random(2, 4), torch.ones(4), torch.zeros(2, 4), 1e-5),
        lambda: layer_norm_plain(torch.tensor(1.0), torch.ones(1), None, 1e-5),
        lambda: rms_norm_plain(torch.ones(2, 4).long(), torch.ones(4), 1e-6),
        lambda: rms_norm_plain(random(2, 4), torch.ones(4), math.nan),
        lambda: gelu_plain([1.0]),
        lambda: gelu_tanh_plain(torch.ones(2).long()),
        lambda: DecoderBlock(8, 2, attention=MultiHeadAttention(8, 2)),  # it would see later tokens
    ],
)
def test_bad_input_is_refused(make):
    with pytest.raises(ValueError):
        make()


# Blocks


def copy_attention(ours, theirs):
    with torch.no_grad():
        copy_projections(ours, theirs.in_proj_weight, theirs.in_proj_bias.normal_())
        ours.o_proj.weight.copy_(theirs.out_proj.weight)
        ours.o_proj.bias.copy_(theirs.out_proj.bias.normal_())


def copy_rest(ours, theirs, norms):
    ours.feed_forward.up_proj.load_state_dict(theirs.linear1.state_dict())
    ours.feed_forward.down_proj.load_state_dict(theirs.linear2.state_dict())
    for mine, torchs in norms:
        with torch.no_grad():
            torchs.weight.normal_(), torchs.bias.normal_()
        mine.load_state_dict(torchs.state_dict())


@pytest.mark.parametrize("pre_norm", [True, False])
def test_encoder_block_equals_torch(pre_norm):
    theirs = torch.nn.TransformerEncoderLayer(
        16, 4, 24, dropout=0.0, activation="gelu", batch_first=True, norm_first=pre_norm
    )
    ours = EncoderBlock(16, 4, 24, pre_norm=pre_norm)
    copy_attention(ours.attention, theirs.self_attn)
    copy_rest(ours, theirs, [(ours.norm1, theirs.norm1), (ours.norm2, theirs.norm2)])
    x = random(2, 5, 16)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pre_norm", [True, False])
def test_decoder_block_with_cross_attention_equals_torch(pre_norm):
    theirs = torch.nn.TransformerDecoderLayer(
        16, 4, 24, dropout=0.0, activation="relu", batch_first=True, norm_first=pre_norm
    )
    ours = DecoderBlock(16, 4, 24, cross=True, pre_norm=pre_norm, activation="relu")
    copy_attention(ours.attention, theirs.self_attn)
    copy_attention(ours.cross_attention, theirs.multihead_attn)
    copy_rest(
        ours, theirs, [(ours.norm1, theirs.norm1), (ours.norm3, theirs.norm2), (ours.norm2, theirs.norm3)]
    )
    x, memory = random(2, 5, 16), random(2, 7, 16, seed=1)
    blocked = torch.ones(5, 5, dtype=torch.bool).triu(1)
    torch.testing.assert_close(ours(x, memory), theirs(x, memory, tgt_mask=blocked), atol=1e-5, rtol=1e-5)


def test_a_ready_made_cross_attention_takes_the_place_of_the_default_one():
    usual = DecoderBlock(16, 4, cross=True)
    layer = MultiHeadAttention(16, 4)
    block = DecoderBlock(16, 4, cross_attention=layer)
    block.load_state_dict(usual.state_dict())
    assert block.cross_attention is layer
    x, memory = random(2, 5, 16), random(2, 7, 16, seed=1)
    assert torch.equal(block(x, memory), usual(x, memory))
    with pytest.raises(ValueError, match="context"):
        block(x)


def test_dropout_works_in_training_only():
    block, x = DecoderBlock(16, 4, dropout=0.5), random(1, 4, 16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))
