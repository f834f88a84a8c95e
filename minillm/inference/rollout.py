"""Rollouts: a policy writes many answers at once, for PPO and GRPO to learn from.

    trainer = PPOTrainer(policy, rollout, reward, prompts, SamplingParams(max_tokens=48), ...)

One generator draws for the whole batch, and rows that are done leave it: a prompt may stand in it many times, and each
copy gets an answer of its own. Answers are drawn from the policy as it is, at temperature 1 and with nothing cut off:
the gradient of PPO and GRPO is that of the distribution that wrote.

Book: 4.2.3 PPO: 보상 해킹 피하기. Held against: the exact distribution of a small model.
Leaves out: stop strings, grammars, beams; `generate_batch` has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor, nn

from minillm._checks import check_int, describe
from minillm.inference.generate import check_prompt
from minillm.inference.loop import Evaluating, decode, prefill
from minillm.inference.params import SamplingParams
from minillm.inference.sampling import new_generator, race
from minillm.nn.fast_cpu import fast_layers

READ = ("max_tokens", "seed", "stop_token_ids", "ignore_eos", "min_tokens")  # of the params
AT_ONCE = 256  # rows a batch: keys and values of more would not fit into a CPU's cache anyway


def rollout(
    model: nn.Module, prompts: Sequence[Sequence[int]], params: SamplingParams, rows: int = AT_ONCE
) -> list[list[int]]:
    """The new ids that follow each prompt, its end token included, drawn from the model's own distribution.

    params: max_tokens, seed, stop_token_ids, ignore_eos and min_tokens are read. ValueError for any other setting (a
    temperature, top_p): answers of another distribution. The same seed gives the same answers to the same prompts.
    """
    if not isinstance(params, SamplingParams):
        raise ValueError(f"params must be SamplingParams, got {describe(params)}")
    usual, names = SamplingParams(), [field.name for field in fields(params) if field.name not in READ]
    other = [name for name in names if getattr(params, name) != getattr(usual, name)]
    if other:
        raise ValueError(
            f"rollout draws from the model as it is, params may only set {', '.join(READ)}, got {other}"
        )
    if isinstance(prompts, (str, bytes)) or not isinstance(prompts, Sequence):
        raise ValueError(f"prompts must be a list of lists of token ids, got {describe(prompts)}")
    checked = [check_prompt(model, ids, params, f"prompt {i}") for i, ids in enumerate(prompts)]
    check_int("rows", rows, 1)
    generator = new_generator(params.seed, model.device)
    # prompts of like length beside each other: less padding to read
    order = sorted(range(len(checked)), key=lambda i: len(checked[i]))
    answers: list[list[int]] = [[] for _ in checked]
    with torch.inference_mode(), Evaluating(model), fast_layers(model, copies=True):
        for start in range(0, len(order), rows):
            places = order[start : start + rows]
            for place, answer in zip(
                places, side_by_side(model, [checked[i] for i in places], params, generator)
            ):
                answers[place] = answer
    return answers


def side_by_side(
    model: nn.Module, prompts: list[list[int]], params: SamplingParams, generator: torch.Generator
) -> list[list[int]]:
    """The answers to some prompts, side by side. A row that ends leaves the batch, and its keys the cache."""
    last_ones = {*(() if params.ignore_eos else model.eos_token_ids), *params.stop_token_ids}
    ends = torch.tensor(sorted(last_ones), dtype=torch.int64, device=model.device)
    answers: list[list[int]] = [[] for _ in prompts]
    cache = model.new_cache(len(prompts), max(map(len, prompts)) + params.max_tokens)
    logits, last = prefill(model, prompts, cache)
    going = list(range(len(prompts)))
    for step in range(params.max_tokens):
        scores = logits.float()
        if step < params.min_tokens and len(ends):
            scores = scores.index_fill(1, ends, -torch.inf)
        newest = draw(scores, generator)  # (B,)
        tokens = drawn_tokens(newest)
        for row, token in zip(going, tokens):
            answers[row].append(token)
        stays = [place for place, token in enumerate(tokens) if token not in last_ones]
        if not stays or step + 1 == params.max_tokens:
            break
        if len(stays) < len(going):
            going = [going[i] for i in stays]
            cache.select(stays)
            newest, last = newest[stays], None if last is None else last[stays]
        logits, last = decode(model, newest, cache, last)
    return answers


def drawn_tokens(newest: Tensor) -> list[int]:
    """What `draw` gave: all that is read from a GPU for a token. ValueError where nothing could be drawn."""
    tokens = newest.tolist()
    if tokens[0] < 0:
        raise ValueError("the model's scores hold NaN or infinity: no token can be drawn")
    return tokens


def draw(logits: Tensor, generator: torch.Generator) -> Tensor:
    """A token for each row of logits (B, V), by its probabilities: argmax p / E, E from Exponential(1). (B,) int64.

    -1 in all rows where a score is NaN or infinite. ValueError for what are no float scores.
    """
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise ValueError(f"logits must be a float tensor (B, V), got {describe(logits)}")
    probabilities = logits.softmax(dim=-1)
    newest = race(probabilities, torch.empty_like(probabilities).exponential_(generator=generator))
    return torch.where(probabilities.isfinite().all(), newest, -1)
