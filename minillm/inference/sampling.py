"""From scores to the next token: make the distribution sharper or narrower, then draw. In this order, vLLM's:

    held back    z = -∞ for an end token before min_tokens, and for one that would end an n-gram anew (loop.py)
    bias         z + bias[token]
    repetition   z > 0: z / penalty, z < 0: z · penalty, for every token that is already in the text
    frequency    z - penalty · (how often the token is among the new ones)         presence   z - penalty, if it is
    temperature  p = softmax(z / τ): below 1 bolder for the best, 0 always the best (greedy, which ends here)
    min-p        keep what has at least min_p times the best one's probability
    top-k        keep the k best           top-p   keep the fewest best that add up to p (nucleus)
    draw         argmax p / E, with E drawn anew from Exponential(1) for each token: token i wins with probability p_i

Only top-p depends on what was cut before it: it counts the probabilities of what is left. transformers cuts by min-p
last, so with top-p and min-p together it may keep other tokens at the border.

Book 7.1.1 언어 모델이 언어를 생성하는 방법. Papers: Fan et al. 2018 (top-k); Holtzman et al. 2020 (top-p);
Nguyen et al. 2024 (min-p); Keskar et al. 2019 (repetition); Paulus et al. 2017 (n-grams). Held against transformers'
logits processors, torch.multinomial, and the exact distribution in numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from minillm._checks import check_int, check_number, describe, is_listing
from minillm.inference.params import SamplingParams

_SMALLEST, _LARGEST = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max
_COLD = 1e-6  # below it z / τ of ordinary scores comes near the largest float32


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """z / τ of logits (..., V); τ above 0. Very small τ: the best one's score becomes 0 first, which changes no
    probability and cannot overflow. ValueError for a τ below 0, or what are no scores; so do the others below.
    """
    _check_scores(logits), check_number("temperature", temperature, 0.0)
    if temperature < _COLD:
        logits = logits - logits.amax(dim=-1, keepdim=True)
    return logits / min(max(temperature, _SMALLEST), _LARGEST)  # as float32 it must be neither 0 nor infinite


def apply_top_k(logits: Tensor, k: int) -> Tensor:
    """-∞ for all but the k best of logits (..., V); ties with the k-th stay, k = 0 keeps all."""
    _check_scores(logits, floats=True), check_int("k", k, 0)
    if k == 0 or k >= logits.shape[-1]:
        return logits
    worst_kept = logits.topk(k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < worst_kept, -torch.inf)


def apply_top_p(logits: Tensor, p: float) -> Tensor:
    """-∞ for all but the fewest best of logits (..., V) whose probabilities add up to p or more; one always stays."""
    _check_scores(logits, floats=True), check_number("p", p, 0.0, 1.0)
    if p >= 1.0:
        return logits
    ascending, order = logits.sort(dim=-1)
    # from the worst up: dropped while all that is worse or equal adds up to at most 1 - p
    drop = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    drop[..., -1] = False
    return logits.masked_fill(drop.scatter(-1, order, drop), -torch.inf)


def apply_min_p(logits: Tensor, min_p: float) -> Tensor:
    """-∞ where the probability is below min_p times the best one's, logits (..., V)."""
    _check_scores(logits, floats=True), check_number("min_p", min_p, 0.0, 1.0)
    if min_p <= 0.0:
        return logits
    probabilities = logits.softmax(dim=-1)
    drop = probabilities < min_p * probabilities.amax(dim=-1, keepdim=True)
    drop.scatter_(-1, logits.argmax(dim=-1, keepdim=True), False)
    return logits.masked_fill(drop, -torch.inf)


def apply_repetition_penalty(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Scores of the token ids in `seen` (..., N) made worse, once each however often they occur; logits (..., V)."""
    _check_ids(logits, seen), check_number("penalty", penalty, 1e-3, 1e3)
    if penalty == 1.0 or not seen.numel():
        return logits
    old = logits.gather(-1, seen)
    return logits.scatter(-1, seen, torch.where(old < 0, old * penalty, old / penalty))


def apply_frequency_penalty(logits: Tensor, new: Tensor, penalty: float) -> Tensor:
    """Scores less `penalty` for each time the token stands in `new` (..., N), the ids written; logits (..., V)."""
    _check_ids(logits, new), check_number("penalty", penalty)
    return logits.scatter_add(-1, new, logits.new_full((1,), -penalty).expand(new.shape))


def apply_presence_penalty(logits: Tensor, new: Tensor, penalty: float) -> Tensor:
    """Scores less `penalty`, once, for every token that stands in `new` (..., N); logits (..., V)."""
    _check_ids(logits, new), check_number("penalty", penalty)
    return logits.scatter(-1, new, logits.gather(-1, new) - penalty)


def apply_logit_bias(logits: Tensor, bias: Mapping[int, float]) -> Tensor:
    """Scores plus what `bias` says of the token; logits (..., V). A token past V does not exist."""
    _check_scores(logits, floats=True), _check_bias(bias)
    return biased(logits, bias)


def biased(logits: Tensor, bias: Mapping[int, float]) -> Tensor:
    """`apply_logit_bias` without the checks: SamplingParams made them, once for all tokens."""
    ids = [i for i in bias if i < logits.shape[-1]]
    values = torch.tensor([bias[i] for i in ids], dtype=logits.dtype, device=logits.device)
    return logits.index_add(
        -1,
        torch.tensor(ids, dtype=torch.int64, device=logits.device),
        values.expand(*logits.shape[:-1], len(ids)),
    )


def apply_no_repeat_ngrams(logits: Tensor, texts: Sequence[Sequence[int]], size: int) -> Tensor:
    """-∞ for every token of logits (B, V) with which text b would hold a run of `size` tokens twice.

    size 2, the text [5, 6, 5]   ->   not 6, for 5 6 is there already

    size 0: as they are. ValueError for another number of texts than rows, and for ids that the logits do not score.
    """
    texts = _checked_texts(logits, texts)
    check_int("size", size, 0)
    logits = logits.clone()
    for row, text in zip(logits, texts if size else ()):
        last = text[len(text) - size + 1 :]
        repeats = [text[i + size - 1] for i in range(len(text) - size + 1) if text[i : i + size - 1] == last]
        row[repeats] = -torch.inf
    return logits


def process_logits(
    logits: Tensor, params: SamplingParams, seen: Tensor | None = None, new: Tensor | None = None
) -> Tensor:
    """Logits (..., V) after bias, penalties, temperature, min-p, top-k and top-p, in this order (vLLM's).

    Greedy stops after the penalties.
    seen: LongTensor (..., N) of the ids in the text so far, needed for a repetition penalty. new: the same of the ids
    written so far, the prompt left out, for frequency and presence penalties. ValueError where one is missing, or
    for what are no scores.
    """
    _check_scores(logits), _check_penalties(params, seen, new)
    logits = penalized(logits, params, seen, new)
    if params.temperature == 0:
        return logits
    logits = apply_temperature(logits, params.temperature)
    logits = apply_min_p(logits, params.min_p)
    logits = apply_top_k(logits, params.top_k)
    return apply_top_p(logits, params.top_p)


def penalized(
    logits: Tensor, params: SamplingParams, seen: Tensor | None = None, new: Tensor | None = None
) -> Tensor:
    """Scores (..., V), or log probabilities, with bias and penalties; arguments as in `process_logits`."""
    if params.logit_bias:
        logits = biased(logits, params.logit_bias)
    if params.repetition_penalty != 1.0 and seen is not None:
        logits = apply_repetition_penalty(logits, seen, params.repetition_penalty)
    if params.frequency_penalty != 0.0 and new is not None:
        logits = apply_frequency_penalty(logits, new, params.frequency_penalty)
    if params.presence_penalty != 0.0 and new is not None:
        logits = apply_presence_penalty(logits, new, params.presence_penalty)
    return logits


def sample_rows(
    logits: Tensor,
    params: SamplingParams,
    generators: Sequence[torch.Generator | None],
    seen: Tensor | None = None,
    new: Tensor | None = None,
) -> Tensor:
    """The next token ids (B,) from logits (B, V), row i drawn by generators[i].

    seen, new: (B, N) as in `process_logits`. Raises as `sample`, and for another number of generators than rows.
    """
    _check_scores(logits)
    if logits.ndim != 2:
        raise ValueError(f"logits must be scores (B, V), got {describe(logits)}")
    logits = process_logits(logits.float(), params, seen, new)
    if params.temperature == 0:
        chosen = logits.argmax(dim=-1)
        scores = logits.gather(-1, chosen[:, None])
        if not all(map(math.isfinite, scores[:, 0].tolist())):
            raise ValueError(f"the model's scores hold {scores[:, 0].tolist()}: no token can be chosen")
        return chosen
    if len(generators) != len(logits):
        raise ValueError(f"each of {len(logits)} rows needs a generator of its own, got {len(generators)}")
    if not len(logits):
        return torch.empty(0, dtype=torch.int64, device=logits.device)
    probabilities = logits.softmax(dim=-1)
    # a row's own generator and tensor: what it draws does not depend on the rows beside it
    noise = torch.stack(
        [torch.empty_like(row).exponential_(generator=g) for row, g in zip(logits, generators)]
    )
    chosen = race(probabilities, noise)
    if not all(p > 0 for p in probabilities.gather(-1, chosen[:, None])[:, 0].tolist()):
        raise ValueError("the model's scores hold NaN or infinity, or only -infinity: no token can be drawn")
    return chosen


def race(weights: Tensor, noise: Tensor) -> Tensor:
    """The winner (...) of each row: argmax p / E. weights (..., V), normalised or not; noise: E, used up."""
    return (weights / noise.clamp_(min=_SMALLEST)).argmax(dim=-1)


def sample(
    logits: Tensor,
    params: SamplingParams,
    generator: torch.Generator | None,
    seen: Tensor | None = None,
    new: Tensor | None = None,
) -> int:
    """The next token id from logits (V,): the best one if greedy, else drawn by `generator` on logits' device.

    seen, new: LongTensor (N,) each, as in `process_logits`.
    ValueError if the logits hold NaN or +∞, or nothing is left to draw from.
    """
    _check_scores(logits)
    if logits.ndim != 1:
        raise ValueError(f"logits must be the scores (V,) of one text, got {describe(logits)}")
    if not isinstance(generator, torch.Generator | None):
        raise ValueError(f"generator must be a torch.Generator or None, got {describe(generator)}")
    seen, new = (None if ids is None else ids[None] for ids in (seen, new))
    return int(sample_rows(logits[None], params, [generator], seen, new))


def _check_scores(logits: Tensor, floats: bool = False) -> None:
    """ValueError for what are no scores (..., V) of at least one token, or, with `floats`, of whole numbers."""
    scores = isinstance(logits, Tensor) and logits.ndim and logits.shape[-1]
    if not scores or (floats and not logits.is_floating_point()):
        raise ValueError(f"logits must be a float tensor (..., V) of scores, got {describe(logits)}")


def _check_ids(logits: Tensor, ids: Tensor) -> None:
    """ValueError for what are no ids (..., N) of the tokens that logits (..., V) score."""
    _check_scores(logits, floats=True)
    whole = isinstance(ids, Tensor) and ids.dtype in (torch.int64, torch.int32)
    if not whole or ids.shape[:-1] != logits.shape[:-1] or ids.ndim != logits.ndim:
        wanted = (*logits.shape[:-1], "N")
        raise ValueError(
            f"ids must be a LongTensor {wanted} for logits {tuple(logits.shape)}, got {describe(ids)}"
        )
    if ids.numel() and ids.device.type == "cpu":  # elsewhere it would wait for the device, for every token
        least, most = (int(one) for one in ids.aminmax())
        if least < 0 or most >= logits.shape[-1]:
            raise ValueError(f"ids must lie in 0..{logits.shape[-1] - 1}, got {least}..{most}")


def _check_bias(bias: Any) -> None:
    """ValueError for what does not map token ids to numbers; -∞ is one, it forbids the token."""
    if not isinstance(bias, Mapping):
        raise ValueError(f"bias must map token ids to numbers, got {describe(bias)}")
    for i, value in bias.items():
        check_int("every id of bias", i, 0)
        check_number("every value of bias", 0 if value == -math.inf else value)


def _checked_texts(logits: Tensor, texts: Any) -> list[list[int]]:
    """The ids of each row of logits (B, V), as lists; ValueError for others than B, and for ids of no score."""
    _check_scores(logits, floats=True)
    if logits.ndim != 2 or not is_listing(texts) or not all(map(is_listing, texts)):
        raise ValueError(f"texts must be a list of ids for each row of logits, got {describe(texts)}")
    lists = [text.tolist() if hasattr(text, "tolist") else list(text) for text in texts]
    if len(lists) != len(logits):
        raise ValueError(f"each of {len(logits)} rows of logits needs its text, got {len(lists)}")
    for text in filter(None, lists):
        for i in (min(text), max(text)):
            check_int("every id of texts", i, 0, logits.shape[-1] - 1)
    return lists


def _check_penalties(params: SamplingParams, seen: Tensor | None, new: Tensor | None) -> None:
    """ValueError for params that ask for a penalty on ids which did not come: it would be left out in silence."""
    if not isinstance(params, SamplingParams):
        raise ValueError(f"params must be SamplingParams, got {describe(params)}")
    if seen is None and params.repetition_penalty != 1.0:
        raise ValueError("a repetition penalty needs `seen`, the ids of the text so far, got None")
    if new is None and (params.frequency_penalty or params.presence_penalty):
        raise ValueError("frequency and presence penalties need `new`, the ids written so far, got None")


def new_generator(seed: int | None, device: torch.device | str = "cpu", offset: int = 0) -> torch.Generator:
    """A generator of its own for one text, on `device`: `seed` + offset, or for None fresh from the system."""
    generator = torch.Generator(device)
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed((seed + offset) % 2**63)
    return generator
