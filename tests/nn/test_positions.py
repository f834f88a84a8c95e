"""Sinusoids, learned tables, RoPE and its two pairings against closed forms and complex numbers."""

import math

import pytest
import torch

from minillm.nn import (
    ALiBi,
    LearnedPosition,
    MultiHeadAttention,
    RoPE,
    SinusoidalPosition,
    convert_pairing,
    rope_frequencies,
    sinusoids,
    to_halves,
    to_interleaved,
)
from minillm.nn.rope import rotate_halves, rotate_neighbours, turning_table
from minillm.nn.rope_scaling import scaled_frequencies, slowed_share


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_sinusoids_equal_the_paper():
    table = sinusoids(50, 8)
    for t, i in ((0, 0), (3, 1), (49, 3)):
        assert table[t, 2 * i] == pytest.approx(math.sin(t / 10000 ** (2 * i / 8)), abs=1e-6)
        assert table[t, 2 * i + 1] == pytest.approx(math.cos(t / 10000 ** (2 * i / 8)), abs=1e-6)
    x = random(2, 5, 8)
    torch.testing.assert_close(SinusoidalPosition(50, 8)(x, start=7) - x, table[7:12].expand(2, 5, 8))


def test_learned_positions_add_their_rows():
    layer, x = LearnedPosition(9, 4), random(2, 3, 4)
    torch.testing.assert_close(layer(x, start=6), x + layer.table.weight[6:])
    with pytest.raises(ValueError, match="do not fit"):
        layer(x, start=7)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rope_depends_on_distance_alone_and_keeps_lengths(interleaved):
    rope = RoPE(8, interleaved=interleaved)
    q, k = random(1, 2, 1, 8), random(1, 2, 1, 8, seed=1)

    def score(t, s):
        return (rope(q, q, t)[0] * rope(k, k, s)[0]).sum(-1)

    torch.testing.assert_close(score(7, 3), score(104, 100), atol=1e-4, rtol=1e-4)
    assert (score(7, 3) - score(7, 4)).abs().max() > 1e-3
    torch.testing.assert_close(rope(q, k, 90)[0].norm(dim=-1), q.norm(dim=-1))
    assert torch.equal(rope(q, k, 0)[0], q)


@pytest.mark.parametrize("interleaved", [False, True])
def test_fast_turn_equals_the_plain_one_and_complex_numbers(interleaved):
    rope, x = RoPE(6, base=100.0, interleaved=interleaved), random(2, 3, 5, 6)
    angles = torch.arange(4, 9)[:, None] * torch.tensor([100.0 ** (-2 * i / 6) for i in range(3)])
    plain = (rotate_neighbours if interleaved else rotate_halves)(x, angles.cos(), angles.sin())
    fast = rope(x, x, 4)[0]
    torch.testing.assert_close(fast, plain, atol=1e-6, rtol=1e-5)
    pairs = x.unflatten(-1, (3, 2)) if interleaved else x.unflatten(-1, (2, 3)).transpose(-1, -2)
    turned = torch.view_as_complex(pairs.contiguous()) * torch.polar(torch.ones_like(angles), angles)
    real = torch.view_as_real(turned)
    expected = real.flatten(-2) if interleaved else real.transpose(-1, -2).flatten(-2)
    torch.testing.assert_close(fast, expected, atol=1e-5, rtol=1e-5)


def test_rope_positions_may_be_given_per_row():
    rope, x = RoPE(4), random(2, 1, 3, 4)
    positions = torch.tensor([[0, 1, 2], [5, 6, 7]])
    out = rope(x, x, positions)[0]
    torch.testing.assert_close(out[0], rope(x, x, 0)[0][0])
    torch.testing.assert_close(out[1], rope(x, x, 5)[0][1])


def test_rope_tables_made_while_generating_serve_training():
    rope, x = RoPE(4), random(1, 1, 3, 4)
    with torch.inference_mode():
        rope(x, x)
    y = x.clone().requires_grad_()
    rope(y, y)[0].sum().backward()
    assert y.grad is not None


def test_the_turning_table_turns_as_the_plain_formula():
    frequencies, x = rope_frequencies(6), random(2, 5, 6)
    angles = torch.arange(5)[:, None] * frequencies
    for interleaved, plain in ((False, rotate_halves), (True, rotate_neighbours)):
        cos, sin = turning_table(frequencies, 5, interleaved)
        swapped = x.unflatten(-1, (3, 2)).flip(-1).flatten(-2) if interleaved else x.roll(3, -1)
        torch.testing.assert_close(x * cos + swapped * sin, plain(x, angles.cos(), angles.sin()))


def test_yarn_slows_the_pairs_that_turn_least_in_the_window():
    # frequencies 1, 1/10, 1/100, 1/1000: in 2000 π tokens they make 1000, 100, 10 and 1 turns
    share = slowed_share(8, 1e4, 2000 * math.pi, fast=100, slow=1, truncate=False)
    torch.testing.assert_close(share, torch.tensor([0.0, 0.0, 0.5, 1.0]))


# The two pairings


@pytest.mark.parametrize("shape", [(12,), (12, 5), (12, 2, 3)])
def test_rows_are_reordered_inside_each_head_and_back(shape):
    weight = torch.arange(math.prod(shape)).view(shape)
    found = to_interleaved(weight, 2)
    assert torch.equal(found, weight[[0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]])
    assert torch.equal(to_halves(found, 2), weight)
    assert torch.equal(to_halves(weight, 2), weight[[0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]])


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (6, 1)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("qk_norm", [False, True])
def test_converted_weights_under_the_other_pairing_give_the_same_output(heads, kv_heads, bias, qk_norm):
    options = {"bias": bias, "qk_norm": qk_norm, "head_dim": 6, "causal": True}
    halves, neighbours = (
        MultiHeadAttention(8, heads, kv_heads, RoPE(6, interleaved=pairing), **options).double()
        for pairing in (False, True)
    )
    state = {
        name: random(*t.shape, seed=i).double() for i, (name, t) in enumerate(halves.state_dict().items())
    }
    halves.load_state_dict(state)
    converted = convert_pairing(state, heads, kv_heads, interleaved=True)
    neighbours.load_state_dict(converted)
    x = random(2, 7, 8).double()
    torch.testing.assert_close(neighbours(x), halves(x))
    neighbours.load_state_dict(state)
    assert (neighbours(x) - halves(x)).abs().max() > 0.01
    back = convert_pairing(converted, heads, kv_heads, interleaved=False)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    assert back["v_proj.weight"] is state["v_proj.weight"]


def test_scores_of_converted_rows_are_those_of_complex_numbers():
    x, weights = random(7, 5).double(), [random(6, 5, seed=seed).double() for seed in (1, 2)]
    angles = torch.arange(7)[:, None] * torch.tensor([1e4 ** (-i / 3) for i in range(3)], dtype=torch.float64)
    turn = torch.polar(torch.ones_like(angles), angles)
    q, k = (torch.complex(*(x @ weight.T).chunk(2, -1)) * turn for weight in weights)  # pairs (i, i + 3)
    expected = (q @ k.conj().T).real
    q, k = ((x @ to_interleaved(weight).T)[None, None] for weight in weights)
    q, k = RoPE(6, interleaved=True)(q, k)
    # the table of angles is in float32
    torch.testing.assert_close((q @ k.mT)[0, 0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RoPE(7), "dim must be even, .* got 7"),
        (lambda: RoPE(8, base=0.5), "base must be .* got 0.5"),
        (lambda: RoPE(8, scaling={"rope_type": "magic", "factor": 2.0}), "rope_type .* got 'magic'"),
        (lambda: RoPE(8, scaling={"rope_type": "linear"}), "factor is missing"),
        (lambda: RoPE(8, scaling={"rope_type": "llama3", "factor": 8.0}), "low_freq_factor is missing"),
        (lambda: RoPE(8, scaling="linear"), "scaling must be None or a dict .* got 'linear'"),
        (lambda: RoPE(8, scaling={"rope_type": "linear", "factor": 2.0, "mrope_section": [1, 1, 2]}), "mrope_section"),
        (lambda: RoPE(8, scaling={"rope_type": "default", "partial_rotary_factor": 0.5}), "partial_rotary_factor 0.5"),
        (lambda: RoPE(4)(random(1, 1, 2, 4), random(1, 1, 2, 4), torch.tensor([0.0, 1.0])), "positions must be an int"),
        (lambda: sinusoids(4, 5), "width must be even, .* got 5"),
        (lambda: sinusoids(0, 4), "length must be at least 1, got 0"),
        (lambda: SinusoidalPosition(4, 6)(random(1, 5, 6)), "positions 0 to 4 do not fit into the 4 there are"),
        (lambda: LearnedPosition(4, 6)(random(1, 2, 6), start=3), "positions 3 to 4 do not fit into the 4 there are"),
        (lambda: LearnedPosition(4, 6)(random(1, 2, 5)), r"x must be a float tensor \(B, T, 6\)"),
        (lambda: ALiBi(0), "heads must be at least 1, got 0"),
        (lambda: SinusoidalPosition(9, 4)(torch.ones(1, 2, 4).long()), "x must be a float tensor"),
        (lambda: rope_frequencies(7), "dim must be even"),
        (lambda: rotate_halves(random(5, 7), random(5, 3), random(5, 3)), "an even D"),
        (lambda: rotate_neighbours(random(5, 8), random(5, 1), random(5, 1)), r"cos must be \(..., T, 4\)"),
        (lambda: rotate_halves(random(3, 8), random(5, 4), random(5, 4)), "cos must be"),
        (lambda: turning_table(random(2, 4), 3, False), "frequencies must be"),
        (lambda: turning_table(random(4), -1, False), "rows must be at least 0"),
        (lambda: RoPE(4)(random(1, 2, 5, 4), random(1, 2, 1, 4)), "same B, T and dtype"),
        (lambda: RoPE(4)(random(1, 2, 5, 4), random(1, 2, 5, 4).half()), "same B, T and dtype"),
        (lambda: RoPE(4)(torch.ones(1, 2, 5, 4).long(), random(1, 2, 5, 4)), "q must be a float tensor"),
        (lambda: scaled_frequencies(8, 1e4, {}, 5), "rope_type"),
        (lambda: slowed_share(8, 1.0, 32), "base must be above 1"),
        (lambda: slowed_share(8, 1e4, 0), "window must be above 0"),
        (lambda: convert_pairing([], 2, interleaved=True), "state must be a dict"),
        (lambda: ALiBi(2).check_heads(3, 4), "slopes for 2 heads, but there are 3"),
        (lambda: to_interleaved(random(6, 2), 2), r"2 times an even number of rows, got Tensor of shape \(6, 2\)"),
        (lambda: to_halves(random(7)), r"1 times an even number of rows, got Tensor of shape \(7,\)"),
        (lambda: to_halves([1.0, 2.0]), "even number of rows, got"),
        (lambda: to_halves(random(4), 0), "heads must be at least 1, got 0"),
        (lambda: convert_pairing({"mlp.weight": random(4)}, 2, interleaved=True), "must hold q_proj and k_proj"),
        (lambda: convert_pairing({"q_proj.weight": random(8, 2)}, 3, interleaved=True), "3 times an even"),
        (lambda: convert_pairing({"q_proj.weight": random(8, 2)}, 2, interleaved="yes"), "interleaved must be"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_what_came(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("positions", [0, torch.zeros(0, dtype=torch.long)])
def test_a_text_of_no_tokens_stays_one(positions):
    q, k = RoPE(4)(torch.zeros(1, 2, 0, 4), torch.zeros(1, 1, 0, 4), positions)
    assert (q.shape, k.shape) == ((1, 2, 0, 4), (1, 1, 0, 4))
