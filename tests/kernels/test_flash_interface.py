"""Flash attention as a torch operator: memory it keeps, torch.compile, odd inputs, and what it refuses."""

import pytest
import torch

from kernels import flash_attention as module
from kernels.flash_attention import flash_attention, flash_attention_plain, flash_attention_varlen
from tests.kernels.flash import inputs, random, results

CALLS = [flash_attention, flash_attention_plain]


# Memory


def test_the_backward_pass_is_given_q_k_v_the_output_and_one_number_a_row():
    B, H, K, T, S, D = 2, 4, 2, 30, 40, 16
    q, k, v = inputs(B, H, K, T, S, D, dtype=torch.float16)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        out = flash_attention(q, k, v, causal=True)
    own = {x.untyped_storage().data_ptr() for x in (q, k, v, out)}
    others = [x for x in kept if x.untyped_storage().data_ptr() not in own]
    assert len(kept) == 5
    assert [(tuple(x.shape), x.dtype) for x in others] == [((B, H, T), torch.float32)]
    numbers = (q.numel() + k.numel() + v.numel() + out.numel()) * 2 + B * H * T * 4
    assert sum(x.numel() * x.element_size() for x in kept) == numbers


@pytest.fixture
def poisoned(monkeypatch):
    """Fresh memory full of NaN, as it may be on a GPU."""

    def poison(fresh):
        def poisonous(*x, **options):
            room = fresh(*x, **options)
            return room.fill_(torch.nan) if room.is_floating_point() else room

        return poisonous

    for home, name in ((torch, "empty_like"), (torch, "empty"), (torch.Tensor, "new_empty")):
        monkeypatch.setattr(home, name, poison(getattr(home, name)))


@pytest.mark.parametrize("D", [16, 20])
def test_every_element_of_every_result_is_written(D, poisoned):
    q, k, v = inputs(1, 2, 1, 75, 70, D)
    for result in results(
        lambda *x: flash_attention(*x, window=(9, 2), return_lse=True), q, k, v, random(*q.shape)
    ):
        assert not result.isnan().any()
    starts = torch.tensor([0, 70, 70, 75], dtype=torch.int32, device=q.device)
    keys = torch.tensor([0, 0, 60, 70], dtype=torch.int32, device=q.device)
    packed = [x.detach()[0].transpose(0, 1) for x in (q, k, v)]
    for result in results(
        lambda *x: flash_attention_varlen(*x, starts, keys, 70, 60, return_lse=True),
        *packed,
        random(75, 2, D),
    ):
        assert not result.isnan().any()


def test_nothing_in_nothing_out(device):
    for B, T, S in ((0, 3, 4), (2, 0, 4), (2, 3, 0), (2, 0, 0)):
        q, k, v = inputs(B, 2, 1, T, S, 16)
        out, lse, dq, dk, dv = results(
            lambda *x: flash_attention(*x, return_lse=True), q, k, v, random(B, 2, T, 16)
        )
        assert (out.shape, lse.shape, dq.shape) == (q.shape, (B, 2, T), q.shape)
        assert dk.shape == dv.shape == k.shape
        assert all(x.abs().sum() == 0 for x in (out, dq, dk, dv))
        assert torch.isneginf(lse).all()


# Any strides


def strided(x: torch.Tensor, kind: str) -> torch.Tensor:
    """The numbers of x in another order in memory."""
    if kind == "positions before heads":
        return x.transpose(1, 2).contiguous().transpose(1, 2)
    if kind == "every second":
        return x.repeat_interleave(2, -1)[..., ::2]
    if kind == "one of three":
        return torch.stack([x, x + 1, x + 2], 3).select(3, 0)
    if kind == "off by one":
        room = x.new_empty(x.numel() + 1)[1:].view(x.shape)
        return room.copy_(x)
    return x.transpose(-1, -2).contiguous().transpose(-1, -2)


@pytest.mark.parametrize(
    "kind", ["positions before heads", "every second", "one of three", "off by one", "columns"]
)
def test_the_order_in_memory_does_not_matter(kind):
    q, k, v = (x.detach() for x in inputs(2, 2, 1, 20, 30, 16))
    upstream = random(*q.shape)
    expected = results(lambda *x: flash_attention(*x, return_lse=True), q, k, v, upstream)
    moved = [strided(x, kind) for x in (q, k, v, upstream)]
    assert not all(x.is_contiguous() for x in moved) or kind == "off by one"
    ours = results(lambda *x: flash_attention(*x, return_lse=True), *moved)
    assert all(torch.equal(x, y) for x, y in zip(ours, expected))


def test_the_output_keeps_positions_before_heads():
    q, k, v = (strided(x.detach(), "positions before heads") for x in inputs(2, 4, 2, 5, 6, 16))
    # so that joining the heads copies nothing
    assert flash_attention(q, k, v).transpose(1, 2).is_contiguous()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_expanded_inputs(axis):
    sizes = [2, 2, 6, 16]
    sizes[axis] = 1
    narrow = [random(*sizes, seed=n) for n in range(3)]
    expanded = [x.expand(2, 2, 6, 16) for x in narrow]
    full = [x.contiguous() for x in expanded]
    upstream = random(1, 1, 1, 1).expand(2, 2, 6, 16)
    ours = results(lambda *x: flash_attention(*x, causal=True, return_lse=True), *expanded, upstream)
    expected = results(
        lambda *x: flash_attention(*x, causal=True, return_lse=True), *full, upstream.contiguous()
    )
    assert all(torch.equal(x, y) for x, y in zip(ours, expected))


def test_a_log_sum_exp_that_was_saved_elsewhere_may_come_back_in_another_order():
    q, k, v = (x.detach() for x in inputs(1, 2, 1, 9, 9, 16))
    out, lse = flash_attention(q, k, v, return_lse=True)
    ours, expected = (
        module._attention_backward(out, x, q, k, v, out, x, None, None, None, 9, 9, 0.25, -1, -1, 0.0)
        for x in (lse.mT.contiguous().mT, lse)
    )
    assert all(torch.equal(x, y) for x, y in zip(ours, expected))


def test_gradients_of_some_inputs_and_of_the_log_sum_exp_alone():
    q, k, v = inputs(1, 2, 1, 20, 30, 16)
    full = torch.autograd.grad(flash_attention(q, k, v).square().sum(), (q, k, v))
    only = torch.autograd.grad(flash_attention(q.detach(), k, v.detach()).square().sum(), k)
    assert torch.equal(only[0], full[1])
    _, lse = flash_attention(q, k, v, return_lse=True)
    ours = torch.autograd.grad(lse.sum(), (q, k, v), allow_unused=True)
    _, lse = flash_attention_plain(q, k, v, return_lse=True)
    expected = torch.autograd.grad(lse.sum(), (q, k))
    for x, y in zip(ours, expected):
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6)
    assert ours[2] is None or ours[2].abs().max() == 0


# torch's machinery


def test_torch_accepts_the_operators(device):
    q, k, v = inputs(1, 2, 1, 5, 6, 16)
    slopes = torch.tensor([0.1, 0.2], device=device)
    starts, keys = (torch.tensor([0, 2, n], dtype=torch.int32, device=device) for n in (5, 6))
    packed = [x.detach()[0].transpose(0, 1).requires_grad_() for x in (q, k, v)]
    torch.library.opcheck(module._attention, (q, k, v, slopes, None, None, 5, 6, 0.25, -1, 0, 0.0))
    quick = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(
        module._attention, (*packed, None, starts, keys, 3, 4, 0.25, -1, -1, 2.0), test_utils=quick
    )
    out, lse = flash_attention(q.detach(), k.detach(), v.detach(), return_lse=True)
    torch.library.opcheck(
        module._attention_backward,
        (out, lse, q.detach(), k.detach(), v.detach(), out, lse, None, None, None, 5, 6, 0.25, -1, 0, 0.0),
        test_utils=quick,
    )


def test_torch_compile_takes_it_whole(device):
    def step(q, k, v):
        out, lse = flash_attention(q * 2, k, v, causal=True, window=(7, -1), return_lse=True)
        return out.transpose(1, 2).flatten(2), lse

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for T in (9, 12):
        q, k, v = inputs(1, 2, 1, T, 10, 20)
        upstream, upstream_lse = random(1, T, 40), random(1, 2, T, seed=1)
        ours, expected = (results(call, q, k, v, upstream, upstream_lse) for call in (compiled, step))
        assert all(torch.equal(x, y) for x, y in zip(ours, expected))


def test_torch_compile_follows_numbers_that_change_from_call_to_call(device):
    graphs = []

    def count(graph, examples):
        graphs.append(graph)
        return graph

    def packed(x, starts, longest):
        return flash_attention_varlen(x, x, x, starts, starts, longest, longest, causal=True)

    compiled = torch.compile(packed, fullgraph=True, backend=count)
    for rows in (6, 7, 9):
        x, starts = random(rows, 1, 16), torch.tensor([0, 2, rows], dtype=torch.int32, device=device)
        assert torch.equal(compiled(x, starts, rows - 2), packed(x, starts, rows - 2))
    assert len(graphs) == 2  # the first lengths, and any others
    options = torch.compile(flash_attention, fullgraph=True, backend=count)
    for n in (1, 2):
        x, given = random(1, 1, 6, 8 * n), {"scale": 0.1 * n, "softcap": 2.5 * n, "window": (n, 0)}
        assert torch.equal(options(x, x, x, **given), flash_attention(x, x, x, **given))


def test_a_second_derivative_is_refused():
    q, k, v = inputs(1, 1, 1, 3, 3, 16)
    (dq,) = torch.autograd.grad(flash_attention(q, k, v).square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        dq.sum().backward()


# What is refused

Q, KV = torch.zeros(2, 4, 5, 8), torch.zeros(2, 2, 6, 8)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"q": None}, "q must be a tensor"),
        ({"q": Q[0]}, r"4 axes.*\(4, 5, 8\)"),
        ({"q": Q.long()}, "int64"),
        ({"k": KV.half()}, "float32.*float16"),
        ({"v": KV.bfloat16()}, "float32.*bfloat16"),
        ({"k": KV[:1], "v": KV[:1]}, r"\(2, 4, 5, 8\).*\(1, 2, 6, 8\)"),
        ({"q": Q[:, :3]}, r"\(2, 3, 5, 8\).*\(2, 2, 6, 8\)"),
        ({"k": KV[:, :0], "v": KV[:, :0]}, r"\(2, 4, 5, 8\).*\(2, 0, 6, 8\)"),
        ({"v": KV[..., :4]}, r"\(2, 2, 6, 8\).*\(2, 2, 6, 4\)"),
        ({"k": KV[..., :4], "v": KV[..., :4]}, r"\(2, 4, 5, 8\).*\(2, 2, 6, 4\)"),
        ({"v": KV[:, :, :5]}, r"\(2, 2, 6, 8\).*\(2, 2, 5, 8\)"),
        ({"q": Q[..., :0], "k": KV[..., :0], "v": KV[..., :0]}, "between 1 and 256"),
        (
            {"q": Q.repeat(1, 1, 1, 33), "k": KV.repeat(1, 1, 1, 33), "v": KV.repeat(1, 1, 1, 33)},
            "between 1 and 256",
        ),
        ({"causal": 1}, "causal must be True or False"),
        ({"return_lse": None}, "return_lse must be True or False"),
        ({"scale": float("inf")}, "scale must be a finite number"),
        ({"scale": 10**400}, "scale must be a finite number"),
        ({"k": KV.to_sparse()}, "k must be a dense tensor.*sparse_coo"),
        ({"scale": "1"}, "scale must be a finite number"),
        ({"softcap": -1.0}, "softcap must be"),
        ({"softcap": 1e39}, "softcap must be between 1e-30 and 1e\\+30"),
        ({"softcap": 1e-42}, "softcap must be between 1e-30 and 1e\\+30"),
        ({"window": 3}, "window must be"),
        ({"window": (1, 2, 3)}, "window must be"),
        ({"window": (-2, 0)}, "window must be"),
        ({"window": (1.0, 0)}, "window must be an integer"),
        ({"alibi_slopes": torch.zeros(3)}, r"\(4,\).*\(3,\)"),
        ({"alibi_slopes": torch.zeros(1, 4)}, r"\(2, 4\).*\(1, 4\)"),
        ({"alibi_slopes": torch.zeros(4).half()}, "float32.*float16"),
        ({"alibi_slopes": [1.0] * 4}, "alibi_slopes must be"),
    ],
)
def test_bad_input_is_refused_with_both_shapes(call, changes, said, device):
    arguments = {"q": Q, "k": KV, "v": KV} | changes
    arguments = {name: x.to(device) if isinstance(x, torch.Tensor) else x for name, x in arguments.items()}
    with pytest.raises(ValueError, match=said):
        call(**arguments)


def test_float64_and_other_devices_are_refused(device):
    with pytest.raises(ValueError, match="float64"):
        flash_attention(*(x.to(device).double() for x in (Q, KV, KV)))
    with pytest.raises(ValueError, match="meta"):
        flash_attention(Q.to(device), KV.to("meta"), KV.to("meta"))
    with pytest.raises(ValueError, match="meta"):
        flash_attention(
            Q.to(device), KV.to(device), KV.to(device), alibi_slopes=torch.zeros(4, device="meta")
        )
