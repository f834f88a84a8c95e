"""Perplexity and bits a byte against sums by hand, on models whose probabilities are known."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from minillm.evaluation.perplexity import bits_per_byte, negative_log_likelihood, perplexity
from tests.helpers import soak_count


class Uniform(nn.Module):
    def forward(self, ids):
        return SimpleNamespace(logits=torch.zeros(*ids.shape, 8))


class LooksBack(nn.Module):
    """The logits at t depend on all tokens of the window up to t, so that a wrong past shows in the figures."""

    def __init__(self, vocabulary=13):
        super().__init__()
        self.table = nn.Parameter(
            torch.randn(vocabulary, vocabulary, generator=torch.Generator().manual_seed(0))
        )
        self.dropout = nn.Dropout(0.5)

    def forward(self, ids):
        return SimpleNamespace(logits=self.dropout(self.table[ids].cumsum(1)))


def by_hand(model, ids, context, stride):
    """Score token after token, each with the past that its window gives it."""
    total, end = 0.0, min(len(ids), context + 1)
    for t in range(1, len(ids)):
        while t >= end:
            end = min(len(ids), end + stride)
        past = torch.tensor(ids[max(0, end - context - 1) : t])
        total -= model(past[None]).logits[0, -1].log_softmax(0)[ids[t]].item()
    return total


def test_a_uniform_guess_has_the_perplexity_of_the_vocabulary():
    ids = torch.randint(0, 8, (50,), generator=torch.Generator().manual_seed(0))
    assert perplexity(Uniform(), ids, 10) == pytest.approx(8)
    assert bits_per_byte(Uniform(), ids, 49, 10) == pytest.approx(3)  # 49 tokens of 3 bits, a byte each
    assert bits_per_byte(Uniform(), ids, 98, 10) == pytest.approx(1.5)


@settings(max_examples=soak_count(1200))
@given(st.integers(2, 40), st.integers(1, 12), st.data())
def test_windows_equal_the_sum_by_hand(size, context, data):
    stride = data.draw(st.integers(1, context))
    batch_size = data.draw(st.integers(1, 5))
    ids = torch.randint(0, 13, (size,), generator=torch.Generator().manual_seed(size)).tolist()
    model = LooksBack().eval()
    with torch.no_grad():
        expected = by_hand(model, ids, context, stride)
    total, count = negative_log_likelihood(model, ids, context, stride, batch_size)
    assert count == size - 1
    assert total == pytest.approx(expected, rel=1e-5)
    assert perplexity(model, ids, context, stride, batch_size) == pytest.approx(
        math.exp(expected / count), rel=1e-5
    )


def test_ids_may_be_an_array():
    ids = np.arange(8, dtype=np.uint16)  # as in a file of tokens
    assert perplexity(LooksBack(), ids, 4) == perplexity(LooksBack(), ids.tolist(), 4)


def test_the_model_is_evaluated_without_dropout_and_left_in_its_mode():
    model = LooksBack().train()
    ids = list(range(13)) * 3
    assert perplexity(model, ids, 8) == perplexity(model, ids, 8)
    assert model.training
    assert model.table.grad is None


def test_confidently_wrong_is_infinite_not_an_error():
    class Wrong(nn.Module):
        def forward(self, ids):
            logits = torch.zeros(*ids.shape, 2)
            logits[..., 0] = 5000
            return SimpleNamespace(logits=logits)

    assert perplexity(Wrong(), [1, 1, 1], 2) == math.inf
    assert perplexity(Wrong(), [0, 0, 0], 2) == 1


@pytest.mark.parametrize(
    "arguments",
    [(None, 4), ("text", 4), ([], 4), ([1], 4), ([1, -1], 4), ([1.0, 2.0], 4), ([[1, 2]], 4),
     (torch.zeros(3), 4),
     ([1, None], 4),     (torch.zeros(2, 2, dtype=torch.int64), 4), ([1, 2], 0), ([1, 2], 4.0),
     ([1, 2], 4, 0), ([1, 2], 4, 5),
     ([1, 2], 4, 2, 0),     (torch.tensor(3), 4), ([True, False], 4)],
)  # fmt: skip
def test_bad_input(arguments):
    with pytest.raises(ValueError):
        perplexity(Uniform(), *arguments)


def test_bad_byte_counts_and_broken_models():
    for bad in (0, -1, None, 2.5):
        with pytest.raises(ValueError, match="num_bytes"):
            bits_per_byte(Uniform(), [1, 2], bad, 4)

    with pytest.raises(ValueError, match=r"ids must lie in 0\.\.7, got 8"):  # the last id is only a target
        perplexity(Uniform(), [1, 2, 8], 4)

    class Broken(nn.Module):
        def forward(self, ids):
            return SimpleNamespace(logits=torch.full((*ids.shape, 8), math.nan))

    with pytest.raises(ValueError, match="finite"):
        perplexity(Broken(), [1, 2, 3], 2)
