"""Generation: score the next token, choose one, append it, repeat, until a stop or the budget.

    prefill   all prompt tokens at once, their keys and values go to the cache        (one wide forward pass)
    decode    one token in, one token out, everything older read from the cache       (many narrow ones)

One loop for one text and for many: `stream` is a batch of one. Book 7.1 언어 모델 추론 이해하기. Held against
transformers' generate: the same tokens, greedy, with and without cache. Prompt and new tokens must fit into the
model's context window together; the token that stops a text is its last one. Leaves out: beams, paging and
continuous batching (8장).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import check_flag, check_int, describe
from minillm.inference.params import SamplingParams
from minillm.inference.sampling import new_generator, sample_rows
from minillm.inference.stopping import Stopper


@dataclass
class Completion:
    """What one prompt became. finish_reason: "stop" (an end token or a stop of the params) or "length".

    text: None without a tokenizer; otherwise what follows the prompt's own text (a first blank included), without
    special tokens and cut before a stop string. logprobs: per new token {id: natural log of its probability}, of
    the chosen and the best; None unless asked for.
    """

    text: str | None
    token_ids: list[int]
    finish_reason: str
    logprobs: list[dict[int, float]] | None = None


def stream(
    model: nn.Module,
    ids: Sequence[int],
    params: SamplingParams | None = None,
    cache: bool = True,
    tokenizer: Any = None,
) -> Iterator[int]:
    """New token ids one by one, as they are made; the last is the one that stopped the text, if one did.

    ids: the prompt, at least one id. cache=False computes the whole text anew for every token (for
    comparison; the same tokens, unless rotary positions with "dynamic" scaling outgrow the trained window).
    tokenizer: needed when params.stop holds strings. A text also ends at one of the model's end tokens
    (model.eos_token_ids). Each step runs in evaluation mode and leaves the model in its own.
    Raises ValueError, at the call, for ids that are no ids of the model and for texts too long for its
    window.
    """
    params = SamplingParams() if params is None else params
    prompt = check_prompt(model, ids, params)
    check_flag("cache", cache)
    if params.n != 1 or params.logprobs is not None:
        raise ValueError("one text of ids has no place for n or logprobs: use generate_batch")
    stops = [Stopper(model, params, tokenizer, prompt)]
    generators = [new_generator(params.seed, model.device)]
    steps = generation_loop(model, [prompt], params, stops, generators, cache)
    return (tokens[0] for _, tokens, _ in steps)


def generate(
    model: nn.Module,
    ids: Sequence[int],
    params: SamplingParams | None = None,
    cache: bool = True,
    tokenizer: Any = None,
) -> list[int]:
    """The new token ids that follow the prompt `ids`, as `stream` would give them (same arguments, same errors)."""
    return list(stream(model, ids, params, cache, tokenizer))


def generate_batch(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    params: SamplingParams | None = None,
    tokenizer: Any = None,
) -> list[Completion]:
    """Completions of many prompts in one batch, params.n for each: n of the first prompt, n of the second,
    ...

    Shorter prompts are padded on the left and their positions corrected, so a row's tokens are those it would
    get alone, up to the rounding of larger matrices. Row i draws with seed + i. A row that is done waits for the
    others (8.1 calls this dynamic batching). Raises ValueError as `stream` does, naming the prompt.
    """
    params = SamplingParams() if params is None else params
    if isinstance(prompts, (str, bytes)) or not isinstance(prompts, Sequence):
        raise ValueError(f"prompts must be a list of lists of token ids, got {describe(prompts)}")
    checked = [check_prompt(model, ids, params, f"prompt {i}") for i, ids in enumerate(prompts)]
    rows = [ids for ids in checked for _ in range(params.n)]
    stops = [Stopper(model, params, tokenizer, ids) for ids in rows]
    generators = [new_generator(params.seed, model.device, offset=i) for i in range(len(rows))]
    logprobs: list[list[dict[int, float]]] = [[] for _ in rows]
    for batch in _batches(model, rows, params):
        some_rows, some_stops, some_generators = (
            [all_[i] for i in batch] for all_ in (rows, stops, generators)
        )
        for active, tokens, logits in generation_loop(model, some_rows, params, some_stops, some_generators):
            for i in active if params.logprobs is not None else ():
                logprobs[batch[i]].append(_logprobs(logits[i], tokens[i], params.logprobs))
    return [
        Completion(
            None if tokenizer is None else stop.text(),
            stop.new,
            "stop" if stop.done else "length",
            None if params.logprobs is None else scores,
        )
        for stop, scores in zip(stops, logprobs)
    ]


def generation_loop(
    model: nn.Module,
    rows: list[list[int]],
    params: SamplingParams,
    stops: list[Stopper],
    generators: list[torch.Generator],
    cache: bool = True,
) -> Iterator[tuple[list[int], list[int], Tensor]]:
    """New tokens step by step: (the rows still at work, one token a row, the model's logits (B, V))."""
    input_ids, mask, positions = left_padded(rows, model.device)
    store = model.new_cache(len(rows), input_ids.shape[1] + params.max_tokens) if cache else None
    seen = input_ids if params.repetition_penalty != 1.0 else None
    active = list(range(len(rows)))
    for step in range(params.max_tokens):
        # the first step is the prefill, input_ids (B, T) the prompts; then decode, (B, 1) the newest tokens
        with torch.inference_mode(), _evaluating(model):
            logits = next_logits(
                model, input_ids, store, attention_mask=mask, position_ids=positions
            )  # (B, V)
            held = stops[0].end_ids if step < params.min_tokens else ()
            newest = _choose(logits, params, active, generators, seen, held)  # (B,)
        tokens = newest.tolist()
        yield active, tokens, logits
        active = [i for i in active if not stops[i](tokens[i])]
        if not active:
            return
        if seen is not None:
            seen = torch.cat((seen, newest[:, None]), dim=1)
        if cache:  # it remembers what was before, padding included
            input_ids, mask = newest[:, None], None
            positions = None if positions is None else positions[:, -1:] + 1
        else:
            input_ids, mask, positions = left_padded(
                [row + stop.new for row, stop in zip(rows, stops)], model.device
            )


def next_logits(model: nn.Module, input_ids: Tensor, cache: Any = None, **options: Any) -> Tensor:
    """Scores (B, V) of the token after input_ids (B, T); options go to the model."""
    return model(input_ids, cache=cache, logits_to_keep=1, **options).logits[:, -1]


def left_padded(
    rows: Sequence[Sequence[int]], device: torch.device
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Rows of ids as (input_ids, attention_mask, position_ids), each (B, T) int64; None, None if none is padded.

    The last column is every row's last token, so that all rows predict in the same column. A row is padded with
    its own first id: hidden by the mask, and nothing new to a repetition penalty.
    """
    longest = max(map(len, rows))
    input_ids = torch.tensor([[*row[:1]] * (longest - len(row)) + [*row] for row in rows], device=device)
    if min(map(len, rows)) == longest:
        return input_ids, None, None
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
    return input_ids, mask, (mask.cumsum(dim=1) - 1).clamp(min=0)


def _choose(
    logits: Tensor,
    params: SamplingParams,
    active: list[int],
    generators: list[torch.Generator],
    seen: Tensor | None,
    held: Collection[int],
) -> Tensor:
    """The newest token (B,) of every active row, none of `held`; 0 for rows that are done, which cost nothing."""
    if len(active) < len(logits):
        newest = logits.new_zeros(len(logits), dtype=torch.int64)
        generators, seen = [generators[i] for i in active], None if seen is None else seen[active]
        newest[active] = _choose(logits[active], params, list(range(len(active))), generators, seen, held)
        return newest
    if held:
        ids = torch.tensor([i for i in held if i < logits.shape[1]], dtype=torch.int64, device=logits.device)
        logits = logits.index_fill(1, ids, -torch.inf)
    return sample_rows(logits, params, generators, seen)


def _batches(model: nn.Module, rows: list[list[int]], params: SamplingParams) -> list[list[int]]:
    """Which rows may stand in one batch and still get the tokens they would get alone: nearly always all.

    The frequencies of rotary positions with "dynamic" scaling follow the longest row once it outgrows the trained
    window, so then only rows of one length go together.
    """
    scaling = getattr(model.config, "rope_scaling", None) or {}
    longest = max(map(len, rows), default=0) + params.max_tokens
    everything = list(range(len(rows)))
    if scaling.get("rope_type") != "dynamic" or longest <= scaling["original_max_position_embeddings"]:
        return [everything] if rows else []
    return [[i for i in everything if len(rows[i]) == length] for length in sorted({*map(len, rows)})]


def _logprobs(logits: Tensor, chosen: int, best: int) -> dict[int, float]:
    """{id: log probability} of the chosen token and of the `best` most probable, under the model itself."""
    log_probabilities = logits.float().log_softmax(dim=-1)
    ids = [chosen, *log_probabilities.topk(min(best, len(log_probabilities))).indices.tolist()]
    return {i: log_probabilities[i].item() for i in ids}


def check_prompt(
    model: nn.Module, ids: Sequence[int], params: SamplingParams, name: str = "ids"
) -> list[int]:
    """The prompt as a list of ints; ValueError if it is empty, holds no ids of the model, or leaves too
    little room.
    """
    if not isinstance(model, nn.Module) or not hasattr(model, "config"):
        raise ValueError(f"model must be a language model with a config, got {describe(model)}")
    if not isinstance(params, SamplingParams):
        raise ValueError(f"params must be SamplingParams, got {describe(params)}")
    if (
        isinstance(ids, (str, bytes))
        or not isinstance(ids, (Sequence, Tensor))
        or getattr(ids, "ndim", 1) != 1
    ):
        raise ValueError(f"{name} must be a list of token ids, got {describe(ids)}")
    vocabulary, window = model.config.vocab_size, model.config.max_length
    prompt = [check_int(f"every id of {name}", i, 0, vocabulary - 1) for i in ids]
    if not prompt:
        raise ValueError(f"{name} must hold at least one token id, got none")
    if len(prompt) + params.max_tokens > window:
        raise ValueError(
            f"{name} has {len(prompt)} tokens and max_tokens is {params.max_tokens}, "
            f"but the model's context window is {window}"
        )
    return prompt


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Dropout off inside; every part of the model in its own mode again after."""
    training = [module for module in model.modules() if module.training] if model.training else []
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True
