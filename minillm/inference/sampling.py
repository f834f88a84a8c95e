"""From scores to the next token: make the distribution sharper or narrower, then draw.

    temperature  p = softmax(z / τ): below 1 bolder for the best, 0 always the best (greedy)
    top-k        keep the k best           top-p   keep the fewest best that add up to p (nucleus)
    min-p        keep what has at least min_p times the best one's probability
    repetition   z > 0: z / penalty, z < 0: z · penalty, for every token that is already in the text

Book 7.1.1 언어 모델이 언어를 생성하는 방법. Papers: Fan et al. 2018 (top-k); Holtzman et al. 2020 (top-p);
Nguyen et al. 2024 (min-p); Keskar et al. 2019 (repetition). Held against transformers' logits processors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minillm._checks import check_int, check_number, describe


@dataclass(frozen=True)
class SamplingParams:
    """How to generate: the names are vLLM's.

    max_tokens: new tokens at most. temperature: 0 for greedy. top_k: 0 for all. top_p, min_p: probabilities.
    repetition_penalty: 1 for none. stop: token ids, tuples of ids or strings that end the text (one of them
    may stand alone). seed: None draws a fresh one from the operating system. n: completions a prompt.
    logprobs: None, or how many of the best tokens to report with their log probability beside the chosen one.
    Raises ValueError naming the field that is wrong.
    """

    max_tokens: int = 16
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: Any = ()
    seed: int | None = None
    n: int = 1
    logprobs: int | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        check_int("max_tokens", self.max_tokens, 1)
        check_number("temperature", self.temperature, 0.0)
        check_int("top_k", self.top_k, 0)
        check_number("top_p", self.top_p, 0.0, 1.0)
        check_number("min_p", self.min_p, 0.0, 1.0)
        check_number("repetition_penalty", self.repetition_penalty, 0.0)
        check_int("n", self.n, 1)
        if self.top_p == 0:
            raise ValueError("top_p must be above 0, for the best token alone use temperature=0 or top_k=1")
        if self.repetition_penalty == 0:
            raise ValueError("repetition_penalty must be above 0, got 0 (1 means none)")
        if self.seed is not None:
            check_int("seed", self.seed, 0, 2**63 - 1)
        if self.logprobs is not None:
            check_int("logprobs", self.logprobs, 0)
        object.__setattr__(self, "stop", _check_stop(self.stop))

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """The strings among `stop`."""
        return tuple(item for item in self.stop if isinstance(item, str))

    @property
    def stop_ids(self) -> tuple[tuple[int, ...], ...]:
        """The ids and id sequences among `stop`, each as a tuple."""
        return tuple(item for item in self.stop if not isinstance(item, str))


def _check_stop(stop: Any) -> tuple[str | tuple[int, ...], ...]:
    """`stop` as a tuple of strings and of tuples of ids: 5 -> ((5,),), "\\n" -> ("\\n",), [5, (6, 7)] as
    expected.
    """
    if isinstance(stop, (str, int)):
        stop = (stop,)
    if not isinstance(stop, (tuple, list, set, frozenset)):
        raise ValueError(f"stop must hold strings, token ids or tuples of ids, got {describe(stop)}")
    checked: list[str | tuple[int, ...]] = []
    for item in stop:
        if isinstance(item, str):
            checked.append(item)
        elif isinstance(item, (tuple, list)):
            checked.append(tuple(check_int("an id in stop", one, 0) for one in item))
        else:
            checked.append((check_int("an id in stop", item, 0),))
        if not checked[-1]:
            raise ValueError("stop must not hold an empty string or an empty tuple")
    return tuple(checked)


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """z / τ of logits (..., V); τ above 0."""
    return logits / temperature


def apply_top_k(logits: Tensor, k: int) -> Tensor:
    """-∞ for all but the k best of logits (..., V); ties with the k-th stay, k = 0 keeps all."""
    if k == 0 or k >= logits.shape[-1]:
        return logits
    worst_kept = logits.topk(k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < worst_kept, -torch.inf)


def apply_top_p(logits: Tensor, p: float) -> Tensor:
    """-∞ for all but the fewest best of logits (..., V) whose probabilities add up to p or more; one always stays."""
    if p >= 1.0:
        return logits
    ascending, order = logits.sort(dim=-1)
    # from the worst up: dropped while all that is worse or equal adds up to at most 1 - p
    drop = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    drop[..., -1] = False
    return logits.masked_fill(drop.scatter(-1, order, drop), -torch.inf)


def apply_min_p(logits: Tensor, min_p: float) -> Tensor:
    """-∞ where the probability is below min_p times the best one's, logits (..., V)."""
    if min_p <= 0.0:
        return logits
    probabilities = logits.softmax(dim=-1)
    drop = probabilities < min_p * probabilities.amax(dim=-1, keepdim=True)
    drop.scatter_(-1, logits.argmax(dim=-1, keepdim=True), False)
    return logits.masked_fill(drop, -torch.inf)


def apply_repetition_penalty(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Scores of the token ids in `seen` (N,) made worse, once each however often they occur; logits (V,)."""
    if penalty == 1.0 or not seen.numel():
        return logits
    old = logits[seen]
    return logits.scatter(0, seen, torch.where(old < 0, old * penalty, old / penalty))


def process_logits(logits: Tensor, params: SamplingParams, seen: Tensor | None = None) -> Tensor:
    """Logits (V,) after penalty, temperature, top-k, top-p and min-p, in transformers' order; greedy stops
    after one.

    seen: LongTensor of the ids in the text so far, needed for a repetition penalty.
    """
    if params.repetition_penalty != 1.0 and seen is not None:
        logits = apply_repetition_penalty(logits, seen, params.repetition_penalty)
    if params.temperature == 0:
        return logits
    logits = apply_temperature(logits, params.temperature)
    return apply_min_p(apply_top_p(apply_top_k(logits, params.top_k), params.top_p), params.min_p)


def sample(
    logits: Tensor, params: SamplingParams, generator: torch.Generator | None, seen: Tensor | None = None
) -> int:
    """The next token id from logits (V,): the best one if greedy, else drawn by `generator`.

    ValueError if the logits hold NaN or +∞, or nothing is left to draw from.
    """
    logits = process_logits(logits.float(), params, seen)
    best = int(logits.argmax())
    if params.temperature == 0:
        if not math.isfinite(score := logits[best].item()):
            raise ValueError(f"the model's scores hold {score}: no token can be chosen")
        return best
    probabilities = logits.softmax(dim=-1)
    if not torch.isfinite(probabilities[best]):
        raise ValueError("the model's scores hold NaN or infinity: no token can be drawn")
    return int(torch.multinomial(probabilities, 1, generator=generator))


def new_generator(seed: int | None, offset: int = 0) -> torch.Generator:
    """A generator of its own for one text: `seed` + offset, or fresh from the operating system for None."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed((seed + offset) % 2**63)
    return generator
