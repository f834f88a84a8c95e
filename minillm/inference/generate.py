"""Generation: score the next token, choose one, append it, repeat, until a stop or the budget.

    prefill   all prompt tokens at once, their keys and values go to the cache        (one wide forward pass)
    decode    one token in, one token out, everything older read from the cache       (many narrow ones)

One loop for one text and for many: `stream` is a batch of one. Book 7.1 언어 모델 추론 이해하기. Held against
transformers' generate: the same tokens, greedy, with and without cache. Prompt and new tokens must fit into the
model's context window together; the token that stops a text is its last one. An encoder-decoder (T5, BART) reads the
prompt and writes another text, each with the window to itself. Leaves out: beams, paging and continuous batching (8장).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import check_flag, check_int, describe
from minillm.inference.conditioned import conditioned, is_encoder_decoder
from minillm.inference.fused import FusedStep
from minillm.inference.params import SamplingParams
from minillm.inference.sampling import new_generator, sample_rows
from minillm.inference.stopping import Stopper
from minillm.nn.cache import Cache
from minillm.nn.fast_cpu import fast_layers


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

    ids: the prompt, at least one id; of an encoder-decoder the text it reads. cache=False computes the whole text anew
    for every token (for comparison; the same tokens, unless rotary positions with "dynamic" scaling outgrow the
    trained window). tokenizer: needed when params.stop holds strings. A text also ends at one of the model's end
    tokens (model.eos_token_ids). Each step runs in evaluation mode and leaves the model in its own.
    Raises ValueError, at the call, for ids that are no ids of the model and for texts too long for its
    window.
    """
    params = SamplingParams() if params is None else params
    prompt = check_prompt(model, ids, params)
    check_flag("cache", cache)
    if params.n != 1 or params.logprobs is not None:
        raise ValueError("one text of ids has no place for n or logprobs: use generate_batch")
    language_model, [text] = conditioned(model, [prompt], params)
    row = Row(text, Stopper(model, params, tokenizer, text), new_generator(params.seed, model.device))
    return (tokens[0] for _, tokens, _ in generation_loop(language_model, [row], params, cache))


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
    language_model, texts = conditioned(model, [ids for ids in checked for _ in range(params.n)], params)
    rows = [
        Row(ids, Stopper(model, params, tokenizer, ids), new_generator(params.seed, model.device, offset=i))
        for i, ids in enumerate(texts)
    ]
    for batch in _batches(model, rows, params):
        for active, tokens, logits in generation_loop(language_model, batch, params):
            for i in active if params.logprobs is not None else ():
                batch[i].logprobs.append(_logprobs(logits[i], tokens[i], params.logprobs))
    return [
        Completion(
            None if tokenizer is None else row.stop.text(),
            row.stop.new,
            "stop" if row.stop.done else "length",
            None if params.logprobs is None else row.logprobs,
        )
        for row in rows
    ]


@dataclass
class Row:
    """One text of a batch: its prompt, what takes its new tokens (`stop.new`) and ends it, what draws them."""

    prompt: list[int]
    stop: Stopper
    generator: torch.Generator | None
    logprobs: list[dict[int, float]] = field(default_factory=list)


def generation_loop(
    model: nn.Module, rows: list[Row], params: SamplingParams, cache: bool = True
) -> Iterator[tuple[list[int], list[int], Tensor]]:
    """New tokens step by step: (the rows still at work, one token a row, the model's logits (B, V))."""
    longest = max(len(row.prompt) for row in rows) + params.max_tokens
    store = model.new_cache(len(rows), longest) if cache else None
    active = list(range(len(rows)))
    newest = last = None  # tokens (B,) of the step before, and where they stand
    fused = FusedStep.of(model, store)  # `decode` as one compiled function, for one text on a CPU; else None
    with fast_layers(model):
        for step in range(params.max_tokens):
            with torch.inference_mode(), _Evaluating(model):
                if step == 0 or store is None:  # without a cache every step reads the whole texts
                    logits, last = prefill(model, [row.prompt + row.stop.new for row in rows], store)
                elif fused is not None:
                    logits = fused(rows[0].stop.new[-1])
                else:
                    logits, last = decode(model, newest, store, last)
                newest = _choose(logits, params, rows, active, step)  # (B,)
            tokens = newest.tolist()
            yield active, tokens, logits
            active = [i for i in active if not rows[i].stop(tokens[i])]
            if not active:
                return


def prefill(
    model: nn.Module, texts: Sequence[Sequence[int]], cache: Cache | None
) -> tuple[Tensor, Tensor | None]:
    """All tokens of the texts in one wide pass, their keys and values to the cache.

    Returns the scores (B, V) of what follows each text, and where each text's last token stands (B, 1); None where
    no text is padded, because the cache's length says it then.
    """
    input_ids, mask, positions = left_padded(texts, model.device)  # (B, T) each
    logits = next_logits(model, input_ids, cache, mask, positions)
    return logits, None if positions is None else positions[:, -1:]


def decode(
    model: nn.Module, newest: Tensor, cache: Cache, last: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """One token a text, `newest` (B,), in a narrow pass; the cache holds everything older, padding included.

    last: where the tokens before stand, from `prefill` or the `decode` before. Returns what `prefill` does.
    """
    position = None if last is None else last + 1
    return next_logits(model, newest[:, None], cache, None, position), position


def next_logits(
    model: nn.Module,
    input_ids: Tensor,
    cache: Cache | None = None,
    attention_mask: Tensor | None = None,
    position_ids: Tensor | None = None,
) -> Tensor:
    """Scores (B, V) of the token after input_ids (B, T); the arguments are the model's."""
    out = model(input_ids, attention_mask, cache, position_ids, logits_to_keep=1)
    return out.logits[:, -1]


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


def _choose(logits: Tensor, params: SamplingParams, rows: list[Row], active: list[int], step: int) -> Tensor:
    """The newest token (B,) of every active row; 0 for rows that are done, which cost nothing here."""
    if step < params.min_tokens:  # no end yet
        ends = [i for i in rows[0].stop.end_ids if i < logits.shape[1]]
        logits = logits.index_fill(1, torch.tensor(ends, dtype=torch.int64, device=logits.device), -torch.inf)
    at_work = [rows[i] for i in active]
    seen = None
    if params.repetition_penalty != 1.0:
        seen = left_padded([row.prompt + row.stop.new for row in at_work], logits.device)[0]
    generators = [row.generator for row in at_work]
    if len(active) == len(rows):
        return sample_rows(logits, params, generators, seen)
    newest = torch.zeros(len(rows), dtype=torch.int64, device=logits.device)
    newest[active] = sample_rows(logits[active], params, generators, seen)
    return newest


def _batches(model: nn.Module, rows: list[Row], params: SamplingParams) -> list[list[Row]]:
    """The rows in batches in which each gets the tokens it would get alone: nearly always one of all.

    The frequencies of rotary positions with "dynamic" scaling follow the longest row once it outgrows the trained
    window, so then only rows of one length go together.
    """
    scaling = getattr(model.config, "rope_scaling", None) or {}
    lengths = sorted({len(row.prompt) for row in rows})
    longest = max(lengths, default=0) + params.max_tokens
    if scaling.get("rope_type") == "dynamic" and longest > scaling["original_max_position_embeddings"]:
        return [[row for row in rows if len(row.prompt) == length] for length in lengths]
    return [rows] if rows else []


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
    if not getattr(model, "generates", True):  # a body, an encoder, a classifier
        raise ValueError(
            f"model must be a language model, {type(model).__name__} does not score the next token"
        )
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


class _Evaluating:
    """Dropout off inside; every part of the model in its own mode again after."""

    def __init__(self, model: nn.Module):
        self.training = [part for part in model.modules() if part.training] if model.training else []

    def __enter__(self) -> None:
        for part in self.training:
            part.training = False

    def __exit__(self, *error: Any) -> None:
        for part in self.training:
            part.training = True
