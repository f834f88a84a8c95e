"""Cross-entropy and its gradient against torch, and the causal objective built on it."""

import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.training import CausalLMObjective, cross_entropy, cross_entropy_plain
from tests.training.toy import COUNTING, ToyLM


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 40),
    vocabulary=st.integers(2, 60),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    scale=st.sampled_from([1.0, 50.0, 1e4]),
    seed=st.integers(0, 999),
)
def test_loss_and_gradient_equal_torch(rows, vocabulary, smoothing, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, vocabulary, generator=generator) * scale
    targets = torch.randint(0, vocabulary, (rows,), generator=generator)
    targets[torch.rand(rows, generator=generator) < 0.3] = -100
    targets[0] = 0
    results = []
    for function, dtype in (
        (F.cross_entropy, torch.float64),
        (cross_entropy_plain, None),
        (cross_entropy, None),
    ):
        x = logits.clone().to(dtype or torch.float32).requires_grad_()
        loss = function(x, targets, label_smoothing=smoothing, ignore_index=-100)
        (loss * 3).backward()
        results.append((loss.detach().float(), x.grad.float()))
    # the plain one rounds log p to float32: 6e-8 times the size of a logit; the fast one never forms log p
    for (loss, gradient), atol in zip(results[1:], (1e-6 + 2e-7 * scale, 1e-6)):
        torch.testing.assert_close(loss, results[0][0], rtol=2e-6, atol=1e-6 * scale)
        torch.testing.assert_close(gradient, results[0][1], rtol=1e-5, atol=atol)


def test_many_pieces_equal_one(monkeypatch):
    module = sys.modules["minillm.training.cross_entropy"]
    logits, targets = torch.randn(37, 11, generator=torch.Generator().manual_seed(0)), torch.arange(37) % 11
    whole = cross_entropy(logits, targets)
    monkeypatch.setitem(module.AT_A_TIME, "cpu", 30)  # two rows at a time
    pieces = logits.clone().requires_grad_()
    loss = cross_entropy(pieces, targets)
    loss.backward()
    torch.testing.assert_close(loss.detach(), whole)
    reference = logits.clone().requires_grad_()
    F.cross_entropy(reference, targets).backward()
    torch.testing.assert_close(pieces.grad, reference.grad)


def test_bfloat16_logits_give_a_float32_loss_and_a_bfloat16_gradient():
    logits = torch.randn(50, 20, generator=torch.Generator().manual_seed(1)).bfloat16().requires_grad_()
    targets = torch.arange(50) % 20
    loss = cross_entropy(logits, targets)
    loss.backward()
    assert loss.dtype == torch.float32
    assert logits.grad.dtype == torch.bfloat16
    exact = logits.detach().float().requires_grad_()
    reference = F.cross_entropy(exact, targets)
    reference.backward()
    torch.testing.assert_close(loss, reference)
    torch.testing.assert_close(logits.grad.float(), exact.grad, rtol=1e-2, atol=1e-5)


def test_the_gradient_is_not_shared_between_two_backward_passes():
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    targets = torch.arange(5)
    expected = torch.autograd.grad(F.cross_entropy(logits, targets), logits)[0]
    loss = cross_entropy(logits, targets)
    loss.backward(retain_graph=True)
    logits.grad.mul_(10)  # as gradient clipping does, in place
    logits.grad = None
    loss.backward(retain_graph=True)
    loss.backward()
    torch.testing.assert_close(logits.grad, 2 * expected)


def test_a_target_that_is_no_id_is_nan_where_nobody_may_wait_to_hear_of_it(monkeypatch):
    monkeypatch.setattr(sys.modules["minillm.training.cross_entropy"], "check_ids", lambda *x: None)
    logits = torch.zeros(3, 4)
    assert cross_entropy(logits, torch.tensor([1, 4, 2])).isnan()
    assert cross_entropy(logits, torch.tensor([1, -1, 2])).isnan()
    assert cross_entropy(logits, torch.tensor([1, -100, 2])).isfinite()
    assert cross_entropy(logits, torch.tensor([1, 9, 2]), ignore_index=9).isfinite()


def test_all_ignored_is_nan_as_in_torch():
    logits, targets = torch.zeros(3, 4), torch.full((3,), -100)
    assert cross_entropy(logits, targets).isnan()
    assert cross_entropy_plain(logits, targets).isnan()
    assert F.cross_entropy(logits, targets).isnan()


@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(3, 4, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(3, 4), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(3, 4), torch.zeros(3)),
        (torch.zeros(3, 4), torch.tensor([0, 4, 1])),
        (torch.zeros(3, 4), torch.tensor([0, -1, 1])),
        (None, None),
        ([[1.0]], [0]),
    ],
)
@pytest.mark.parametrize("function", [cross_entropy, cross_entropy_plain])
def test_bad_input(function, logits, targets):
    with pytest.raises(ValueError):
        function(logits, targets)


def test_bad_smoothing():
    for bad in (-0.1, 1.1, None, float("nan")):
        with pytest.raises(ValueError):
            cross_entropy(torch.zeros(1, 2), torch.tensor([0]), label_smoothing=bad)
        with pytest.raises(ValueError):
            CausalLMObjective(label_smoothing=bad)


class Echo:
    """A model whose logits are the same for every text: position t gives `rows[t]`."""

    def __init__(self, rows):
        self.rows = rows

    def __call__(self, input_ids, attention_mask=None):
        self.seen, self.mask = input_ids, attention_mask
        return SimpleNamespace(logits=self.rows[None, : input_ids.shape[1]].expand(len(input_ids), -1, -1))


def test_objective_shifts_by_one_and_skips_ignored_labels():
    rows = torch.randn(3, 7, generator=torch.Generator().manual_seed(2))
    model = Echo(rows)
    ids = torch.tensor([[5, 1, 2, 6]])
    labels = torch.tensor([[5, 1, -100, 6]])
    batch = {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids)}
    objective = CausalLMObjective()
    # position 0 must say 1, position 2 must say 6
    by_hand = -(rows[0].log_softmax(0)[1] + rows[2].log_softmax(0)[6]) / 2
    torch.testing.assert_close(objective(model, batch).loss, by_hand)
    assert objective.count(batch) == 2
    assert torch.equal(model.seen, ids[:, :-1])
    assert model.mask.shape == (1, 3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_fused_objective_gives_the_same_loss_and_gradients_without_the_logits(smoothing):
    batch = {"input_ids": COUNTING[:18].view(2, 9), "labels": COUNTING[:18].view(2, 9).clone()}
    batch["labels"][0, 3] = -100
    gradients = []
    for fused in (False, True):
        model = ToyLM(dropout=0.0)
        loss, logits, labels = CausalLMObjective(label_smoothing=smoothing, fused=fused)(model, batch)
        loss.backward()
        gradients.append([loss.detach()] + [parameter.grad for parameter in model.parameters()])
        assert (logits is None) == fused
        assert torch.equal(labels, batch["labels"][:, 1:])
    for a, b in zip(*gradients):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
    found = CausalLMObjective(fused=True)(model, batch, predict=True)
    assert torch.equal(found.predictions, model(batch["input_ids"][:, :-1]).logits)


def test_a_fused_objective_needs_a_plain_head():
    batch = {
        "input_ids": torch.zeros(1, 3, dtype=torch.int64),
        "labels": torch.zeros(1, 3, dtype=torch.int64),
    }
    model = ToyLM()
    model.head = torch.nn.Sequential(model.head)
    for refused in (model, Echo(torch.zeros(3, 7))):
        with pytest.raises(ValueError, match=r"fused=True needs .* an nn.Linear as head"):
            CausalLMObjective(fused=True)(refused, batch)
    with pytest.raises(ValueError, match="fused must be True or False"):
        CausalLMObjective(fused="yes")


@pytest.mark.parametrize(
    "batch", [{}, {"labels": torch.zeros(2)}, {"labels": torch.zeros(2, 1)}, {"labels": None}, None]
)
def test_objective_refuses_a_batch_without_labels(batch):
    with pytest.raises(ValueError):
        CausalLMObjective().count(batch)
