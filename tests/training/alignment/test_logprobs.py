"""Log probabilities of given texts: the formula in torch, in pieces, with its gradient."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from minillm.models import Llama, LlamaConfig
from minillm.training import sequence_logprobs, token_logprobs
from minillm.training.alignment import logprobs
from tests.training.alignment.test_packing import LLAMA


@pytest.mark.parametrize("bias", [False, True])
def test_pieces_are_the_formula_with_its_gradients(monkeypatch, bias):
    monkeypatch.setitem(logprobs.AT_A_TIME, "cpu", 60)  # pieces of two rows
    torch.manual_seed(0)
    given = [torch.randn(7, 5, dtype=torch.float64), torch.randn(30, 5, dtype=torch.float64)]
    given += [torch.randn(30, dtype=torch.float64)] if bias else []
    labels, weights = torch.randint(0, 30, (7,)), torch.randn(7)
    both = []
    for way in (logprobs.linear_logprobs, None):
        hidden, weight, *rest = [x.clone().float().requires_grad_() for x in given]
        if way is None:
            logits = F.linear(hidden, weight, *rest)
            found = -F.cross_entropy(logits, labels, reduction="none")
        else:
            found = way(hidden, weight, labels, *rest)
        (found * weights).sum().backward()
        both.append([found.detach(), hidden.grad, weight.grad, *(x.grad for x in rest)])
    for ours, theirs in zip(*both):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_sequence_is_the_sum_of_its_answer():
    model = Llama(LlamaConfig(**LLAMA), seed=0)
    ids = torch.randint(0, 50, (3, 9), generator=torch.Generator().manual_seed(0))
    labels, mask = ids.clone(), torch.ones_like(ids)
    labels[:, :4] = -100
    labels[1, 6:], mask[1, 6:] = -100, 0
    found = token_logprobs(model, ids, labels, mask)
    losses = F.cross_entropy(
        model(ids, mask).logits[:, :-1].transpose(1, 2), labels[:, 1:], ignore_index=-100, reduction="none"
    )
    torch.testing.assert_close(found, -losses, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        sequence_logprobs(model, ids, labels, mask), -losses.sum(dim=1), rtol=1e-5, atol=1e-5
    )
    plain = SimpleNamespace(__call__=None)  # a model without a body gives its logits
    plain = lambda **inputs: model(**inputs)  # noqa: E731
    torch.testing.assert_close(token_logprobs(plain, ids, labels, mask), found, rtol=1e-5, atol=1e-6)


def test_an_answerless_batch_gives_zeros():
    model, ids = Llama(LlamaConfig(**LLAMA), seed=0), torch.ones(2, 4, dtype=torch.int64)
    assert sequence_logprobs(model, ids, torch.full_like(ids, -100)).tolist() == [0, 0]


def test_a_label_that_is_no_id_of_the_model_is_refused():
    model, ids = Llama(LlamaConfig(**LLAMA), seed=0), torch.ones(1, 4, dtype=torch.int64)
    for wrong in (-5, 50):  # -5 was read as id 0
        labels = torch.tensor([[-100, 2, wrong, 3]])
        for one in (model, lambda **inputs: model(**inputs)):  # with a body, and without
            with pytest.raises(ValueError, match=f"label must be -100 or between 0 and 49, got {wrong}"):
                token_logprobs(one, ids, labels)


def test_other_shapes_are_refused():
    model, ids = Llama(LlamaConfig(**LLAMA), seed=0), torch.ones(2, 4, dtype=torch.int64)
    for arguments in (
        (ids[0], ids[0]),
        (ids, ids[:, :3]),
        (ids, ids.float()),
        (ids, ids, ids[:1]),
        (ids[:, :1],) * 2,
    ):
        with pytest.raises(ValueError, match=r"must be a LongTensor \(B, T\)"):
            token_logprobs(model, *arguments)
