"""Generation: from the ids of a prompt, or of many, to the ids and texts that follow.

The loop and its two passes, `prefill` and `decode`, stand in loop.py; here stands what a caller meets: checks, n and
best_of. One loop serves one text and many: `stream` is a batch of one; beams have a loop of their own (beams.py).
Prompt and new tokens must fit into the model's context window together; the token that stops a text is its last one.
An encoder-decoder (T5, BART) reads the prompt and writes another text, each with the window to itself. Book 7.1 언어
모델 추론 이해하기. Held against transformers' generate: the same tokens, greedy and with beams, with and without cache.
Leaves out: paging and continuous batching (8장).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minillm._checks import check_flag, check_int, describe
from minillm.inference.beams import beam_search
from minillm.inference.conditioned import conditioned, is_encoder_decoder
from minillm.inference.loop import Evaluating, Row, generation_loop, logprobs_of
from minillm.inference.params import SamplingParams
from minillm.inference.sampling import new_generator
from minillm.inference.stopping import Stopper
from minillm.nn.cache import KVCache
from minillm.nn.fast_cpu import fast_layers
from minillm.nn.state_cache import has_states


@dataclass
class Completion:
    """What one prompt became. finish_reason: "stop" (an end token or a stop of the params) or "length".

    text: None without a tokenizer; otherwise what follows the prompt's own text (a first blank included), without
    special tokens and cut before a stop string. logprobs: per new token {id: natural log of its probability}, of
    the chosen and the best; None unless asked for. prompt_logprobs: the same per token of the prompt, None for its
    first, of which nothing is foretold.
    """

    text: str | None
    token_ids: list[int]
    finish_reason: str
    logprobs: list[dict[int, float]] | None = None
    prompt_logprobs: list[dict[int, float] | None] | None = None


def stream(
    model: nn.Module,
    ids: Sequence[int],
    params: SamplingParams | None = None,
    cache: bool | KVCache = True,
    tokenizer: Any = None,
) -> Iterator[int]:
    """New token ids one by one, as they are made; the last is the one that stopped the text, if one did.

    ids: the prompt, at least one id; of an encoder-decoder the text it reads. cache=False computes the whole text anew
    for every token (for comparison; the same tokens, unless rotary positions with "dynamic" scaling outgrow the
    trained window). A KVCache of one text holds the first tokens of `ids` already (all but the last at most): only the
    rest is read, and afterwards it holds the text up to its last token. tokenizer: needed when params.stop holds
    strings. A text also ends at one of the model's end tokens (model.eos_token_ids). Each step runs in evaluation mode
    and leaves the model in its own.
    Raises ValueError, at the call, for ids that are no ids of the model and for texts too long for its
    window.
    """
    params = SamplingParams() if params is None else params
    prompt = check_stream(model, ids, params, cache)
    language_model, [text] = conditioned(model, [prompt], params)
    row = Row(text, Stopper(model, params, tokenizer, text), new_generator(params.seed, model.device))
    return (tokens[0] for _, tokens, _ in generation_loop(language_model, [row], params, cache))


def generate(
    model: nn.Module,
    ids: Sequence[int],
    params: SamplingParams | None = None,
    cache: bool | KVCache = True,
    tokenizer: Any = None,
) -> list[int]:
    """The new token ids that follow the prompt `ids`, as `stream` would give them (same arguments, same errors).

    With beams, the best of them; with best_of, the best of those drawn.
    """
    params = SamplingParams() if params is None else params
    if isinstance(params, SamplingParams) and (params.beams > 1 or params.best_of is not None):
        prompt = check_one(model, ids, params)
        check_flag("cache, with beams or best_of,", cache)
        return _rows_of_prompts(model, [prompt], params, tokenizer, cache)[0].stop.new
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
    get alone, up to the rounding of larger matrices: the j-th completion of every prompt draws with seed + j. A row
    that is done waits for the others (8.1 calls this dynamic batching). Raises ValueError as `stream` does, naming the
    prompt.
    """
    params = SamplingParams() if params is None else params
    if isinstance(prompts, (str, bytes)) or not isinstance(prompts, Sequence):
        raise ValueError(f"prompts must be a list of lists of token ids, got {describe(prompts)}")
    checked = [check_prompt(model, ids, params, f"prompt {i}") for i, ids in enumerate(prompts)]
    rows = _rows_of_prompts(model, checked, params, tokenizer)
    best = params.prompt_logprobs
    said = [None if best is None else prompt_logprobs(model, ids, best) for ids in checked]
    return [
        Completion(
            None if tokenizer is None else row.stop.text(),
            row.stop.new,
            "stop" if row.stop.done else "length",
            None if params.logprobs is None else row.logprobs,
            said[i // params.n],
        )
        for i, row in enumerate(rows)
    ]


def prompt_logprobs(model: nn.Module, ids: list[int], best: int) -> list[dict[int, float] | None]:
    """Per token of a text {id: natural log of its probability}: of the token itself and of the `best` most probable."""
    with torch.inference_mode(), Evaluating(model), fast_layers(model, copies=True):
        logits = model(torch.tensor([ids], device=model.device)).logits[0]  # (T, V)
    return [None, *(logprobs_of(scores, i, best) for scores, i in zip(logits, ids[1:]))]


def _rows_of_prompts(
    model: nn.Module, prompts: list[list[int]], params: SamplingParams, tokenizer: Any, cache: bool = True
) -> list[Row]:
    """params.n finished rows for each of the checked prompts."""
    if params.beams > 1:
        rows = []
        for ids in prompts:  # one text after another: its beams are the batch
            language_model, [text] = conditioned(model, [ids], params)
            rows += beam_search(language_model, text, params, Stopper(model, params, tokenizer, text), cache)
        return rows
    many = params.n if params.best_of is None else params.best_of
    language_model, texts = conditioned(model, [ids for ids in prompts for _ in range(many)], params)
    rows = [
        Row(
            ids,
            Stopper(model, params, tokenizer, ids),
            new_generator(params.seed, model.device, offset=i % many),
        )
        for i, ids in enumerate(texts)
    ]
    for batch in _batches(model, rows, params):
        for active, tokens, logits in generation_loop(language_model, batch, params, cache):
            for i in active if params.logprobs is not None or many > params.n else ():
                said = logprobs_of(logits[i], tokens[i], params.logprobs or 0)
                batch[i].logprobs.append(said)
                batch[i].score += said[tokens[i]]
    if many == params.n:
        return rows
    groups = [rows[i : i + many] for i in range(0, len(rows), many)]
    return [row for group in groups for row in sorted(group, key=lambda row: -row.score)[: params.n]]


def _batches(model: nn.Module, rows: list[Row], params: SamplingParams) -> list[list[Row]]:
    """The rows in batches in which each gets the tokens it would get alone: nearly always one of all.

    The frequencies of rotary positions with "dynamic" scaling follow the longest row once it outgrows the trained
    window, so then only rows of one length go together. So do those of a model with a state: it would read padding.
    """
    lengths = sorted({len(row.prompt) for row in rows})
    outgrown = max(lengths, default=0) + params.max_tokens > steady_window(model)
    if len(lengths) > 1 and (outgrown or has_states(model)):
        return [[row for row in rows if len(row.prompt) == length] for length in lengths]
    return [rows] if rows else []


def steady_window(model: nn.Module) -> int:
    """Tokens of a text at most in which a token's keys do not depend on how long the text is now.

    The model's window; with "dynamic" scaling of rotary positions the trained one, for they turn by the length beyond.
    """
    scaling = getattr(model.config, "rope_scaling", None) or {}
    if scaling.get("rope_type") == "dynamic":
        return int(scaling["original_max_position_embeddings"])
    return model.config.max_length


def check_one(model: nn.Module, ids: Sequence[int], params: SamplingParams) -> list[int]:
    """The prompt of a call that gives the ids of one text and nothing else; ValueError as `check_prompt`."""
    prompt = check_prompt(model, ids, params)
    if params.n != 1 or params.logprobs is not None or params.prompt_logprobs is not None:
        raise ValueError("one text of ids has no place for n or logprobs: use generate_batch")
    return prompt


def check_stream(
    model: nn.Module, ids: Sequence[int], params: SamplingParams, cache: bool | KVCache
) -> list[int]:
    """The prompt of a text that is shown while it is written; ValueError as `check_one`, and for a cache of others."""
    prompt = check_one(model, ids, params)
    if not isinstance(cache, KVCache):
        check_flag("cache", cache)
    elif is_encoder_decoder(model) or cache.batch_size != 1 or cache.length >= len(prompt):
        raise ValueError(
            "cache must be True, False, or a decoder-only model's cache of one text that holds fewer tokens than the "
            f"prompt's {len(prompt)}, got one of {cache.batch_size} with {cache.length} for a {type(model).__name__}"
        )
    else:
        cache.check_room(len(prompt) + params.max_tokens - cache.length)
    if params.beams > 1 or params.best_of not in (None, 1):
        raise ValueError(
            "with beams or best_of a text is known at its end only: use generate or generate_batch"
        )
    return prompt


def check_prompt(
    model: nn.Module, ids: Sequence[int], params: SamplingParams, name: str = "ids"
) -> list[int]:
    """The prompt as a list of ints; ValueError if it is empty, holds no ids of the model, or leaves too
    little room.
    """
    config = getattr(model, "config", None) if isinstance(model, nn.Module) else None
    # transformers' have a vocab_size and no max_length
    if not hasattr(config, "vocab_size") or not hasattr(config, "max_length"):
        raise ValueError(f"model must be a language model with a config of ours, got {describe(model)}")
    if not getattr(model, "generates", True):  # a body, an encoder, a classifier
        raise ValueError(
            f"model must be a language model, {type(model).__name__} does not score the next token"
        )
    if not isinstance(params, SamplingParams):
        raise ValueError(f"params must be SamplingParams, got {describe(params)}")
    if (
        isinstance(ids, (str, bytes))
        or not isinstance(ids, (Sequence, Tensor, np.ndarray))
        or getattr(ids, "ndim", 1) != 1
    ):
        raise ValueError(f"{name} must be a list of token ids, got {describe(ids)}")
    vocabulary, window = model.config.vocab_size, model.config.max_length
    for i in params.logit_bias or ():
        check_int("every id of logit_bias", i, 0, vocabulary - 1)
    check_int("beams", params.beams, 1, vocabulary)
    if params.prompt_logprobs is not None and is_encoder_decoder(model):
        raise ValueError(
            "prompt_logprobs must be None: an encoder-decoder reads its prompt and foretells none of it"
        )
    prompt = [check_int(f"every id of {name}", i, 0, vocabulary - 1) for i in ids]
    if not prompt:
        raise ValueError(f"{name} must hold at least one token id, got none")
    if is_encoder_decoder(model):
        if len(prompt) > window or 1 + params.max_tokens > window:
            raise ValueError(
                f"{name} has {len(prompt)} tokens, the new text {params.max_tokens} (max_tokens) and one to start "
                f"with, but the model's context window is {window}"
            )
    elif len(prompt) + params.max_tokens > window:
        raise ValueError(
            f"{name} has {len(prompt)} tokens and max_tokens is {params.max_tokens}, "
            f"but the model's context window is {window}"
        )
    return prompt
