"""Perplexity (퍼플렉서티): among how many equally likely tokens the model hesitates, on average.

    nll        = - sum over t of log p(x_t | the tokens before it, as far as the window reaches)
    perplexity = exp(nll / number of tokens scored)
    bits a byte = nll / ln 2 / number of bytes of the text

Perplexity depends on the tokenizer: fewer, longer tokens are each harder to guess. Bits a byte does not, so it
compares models of different vocabularies; gzip needs 2.3 on the Python reference.

A text longer than the window is read in overlapping windows, `stride` tokens apart; a window scores only those tokens
that no window before it has scored. A small stride gives every token a long past and costs more windows.

Book: 13.3 LLM 평가하기. Held against: the sum by hand, and exp(loss) of transformers on one window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minillm._checks import check_int, describe


def negative_log_likelihood(
    model: Any,
    ids: Sequence[int] | Tensor,
    context_length: int,
    stride: int | None = None,
    batch_size: int = 16,
) -> tuple[float, int]:
    """(sum of -log p in nats, number of tokens scored) of a text of ids, every one but the first scored once.

    model: called with (B, T) int64, gives an object with `.logits` (B, T, V). ids: list of int, 1-D tensor or array, at
    least 2. context_length: how many tokens the model reads at once. stride: 1 to context_length, which is the
    default (no overlap). batch_size: windows a pass. Sums are float64; the model is in evaluation mode meanwhile.
    Raises ValueError for anything else, and for a model that gives NaN.
    """
    check_int("context_length", context_length, 1)
    stride = context_length if stride is None else check_int("stride", stride, 1, context_length)
    check_int("batch_size", batch_size, 1)
    check_model(model)
    tokens = _ids(ids)  # (N,)
    device = place_of(model, tokens)
    total = torch.zeros((), dtype=torch.float64)
    with evaluating(model):
        for batch in _batches(len(tokens), context_length, stride, batch_size):
            windows = torch.stack([tokens[start:end] for start, end, _ in batch]).to(device)  # (B, T + 1)
            logits = model(windows[:, :-1]).logits  # (B, T, V)
            # -log p(x_{t+1} | x_1 ... x_t)
            if tokens.max() >= logits.shape[-1]:
                raise ValueError(f"ids must lie in 0..{logits.shape[-1] - 1}, got {tokens.max()}")
            logits = logits.float().transpose(1, 2)  # (B, V, T), as cross_entropy wants them
            surprise = F.cross_entropy(logits, windows[:, 1:], reduction="none")  # (B, T)
            for row, (_, _, new) in zip(surprise, batch):
                total += row[len(row) - new :].double().sum().cpu()
    if not math.isfinite(total):
        raise ValueError(
            f"the model gave a log-probability that is no finite number: the sum is {total.item()}"
        )
    return total.item(), len(tokens) - 1


def check_model(model: Any) -> None:
    """ValueError for what cannot be called."""
    if not callable(model):
        raise ValueError(f"model must be a language model to call, got {describe(model)}")


def place_of(model: Any, ids: Tensor) -> torch.device:
    """Where a model's weights are; where the ids are, for what has none."""
    return next(iter(model.parameters()), ids).device if hasattr(model, "parameters") else ids.device


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Inside, the model is in evaluation mode and nothing learns."""
    was_training = getattr(model, "training", False)
    if was_training:
        model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        if was_training:
            model.train()


def perplexity(
    model: Any,
    ids: Sequence[int] | Tensor,
    context_length: int,
    stride: int | None = None,
    batch_size: int = 16,
) -> float:
    """exp(mean surprise a token), 1 (certain) to V (a uniform guess) and beyond (confidently wrong).

    Arguments and errors as in `negative_log_likelihood`; inf if the mean surprise is above about 709 nats.
    """
    total, count = negative_log_likelihood(model, ids, context_length, stride, batch_size)
    # perplexity = exp(nll / number of tokens)
    return math.exp(total / count) if total / count < 709 else math.inf


def bits_per_byte(
    model: Any,
    ids: Sequence[int] | Tensor,
    num_bytes: int,
    context_length: int,
    stride: int | None = None,
    batch_size: int = 16,
) -> float:
    """Bits the model needs for each byte of the text: the size a compressor with this model would reach, over 8.

    num_bytes: UTF-8 bytes of the text that `ids` encode, at least 1. The first token is not scored; put an
    end-of-text token before the text to score it all. Other arguments and errors as in `negative_log_likelihood`.
    """
    check_int("num_bytes", num_bytes, 1)
    total, _ = negative_log_likelihood(model, ids, context_length, stride, batch_size)
    # nll / ln 2 / bytes
    return total / math.log(2) / num_bytes


def _ids(ids: Any) -> Tensor:
    if isinstance(ids, (str, bytes)) or not isinstance(ids, (Sequence, Tensor, np.ndarray)):
        raise ValueError(f"ids must be a list of ids or a 1-D integer tensor or array, got {describe(ids)}")
    try:
        tokens = ids.detach().cpu() if isinstance(ids, Tensor) else torch.tensor(list(ids))
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"ids must be a flat list of integers, got {describe(ids)}") from None
    if len(tokens.shape) != 1 or len(tokens) < 2:
        raise ValueError(f"ids must be a flat sequence of at least two ids, got {describe(tokens)}")
    whole = not (tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool)
    if not whole or (least := tokens.long().min()) < 0:  # long first: torch knows no least of uint16
        came = describe(tokens) + (f" from {least}" if whole else "")
        raise ValueError(f"ids must be integers of 0 or more, got {came}")
    return tokens.long()


def _batches(
    size: int, context_length: int, stride: int, batch_size: int
) -> list[list[tuple[int, int, int]]]:
    """Windows (start, end, how many of its last tokens are new), in batches; all are of one length.

    size 8, context 4, stride 2  ->  (0, 5, 4), (2, 7, 2), (3, 8, 1): the last window ends with the text.
    """
    windows = []
    scored = 1  # the first token has no past
    while scored < size:
        end = min(size, context_length + 1 if scored == 1 else scored + stride)
        windows.append((max(0, end - context_length - 1), end, end - scored))
        scored = end
    return [windows[first : first + batch_size] for first in range(0, len(windows), batch_size)]
