"""Generation: score the next token, choose one, append it, repeat, until a stop or the budget.

    prefill   all prompt tokens at once, their keys and values go to the cache        (one wide forward pass)
    decode    one token in, one token out, everything older read from the cache       (many narrow ones)

Book 7.1 언어 모델 추론 이해하기. Held against transformers' generate: the same tokens, greedy, with and
without cache. Prompt and new tokens must fit into the model's context window together; the token that stops a
text is its last one. Leaves out: beams, paging and continuous batching (8장).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import check_flag, check_int, describe
from minillm.inference.sampling import SamplingParams, new_generator, sample
from minillm.nn.cache import Cache


@dataclass
class Completion:
    """What one prompt became. finish_reason: "stop" (an end token or a stop of the params) or "length".

    text: None without a tokenizer; otherwise decoded without special tokens and cut before a stop string.
    logprobs: per new token {id: natural log of its probability}, of the chosen and the best; None unless
    asked for.
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
    comparison). tokenizer: needed when params.stop holds strings. A text also ends at the config's
    eos_token_id. The model is in evaluation mode while the iterator is open, and back in its own after.
    Raises ValueError, at the call, for ids that are no ids of the model and for texts too long for its
    window.
    """
    params = SamplingParams() if params is None else params
    prompt = check_prompt(model, ids, params)
    check_flag("cache", cache)
    if params.n != 1 or params.logprobs is not None:
        raise ValueError("one text of ids has no place for n or logprobs: use generate_batch")
    return _stream(
        model, prompt, params, cache, Stopper(model, params, tokenizer), new_generator(params.seed)
    )


def generate(
    model: nn.Module,
    ids: Sequence[int],
    params: SamplingParams | None = None,
    cache: bool = True,
    tokenizer: Any = None,
) -> list[int]:
    """The new token ids that follow the prompt `ids`, as `stream` would give them (same arguments, same errors)."""
    return list(stream(model, ids, params, cache, tokenizer))


def _stream(
    model: nn.Module,
    ids: list[int],
    params: SamplingParams,
    cache: bool,
    stops: Stopper,
    generator: torch.Generator,
) -> Iterator[int]:
    device = next(model.parameters()).device
    new: list[int] = []
    store = model.new_cache(1, len(ids) + params.max_tokens) if cache else None
    seen = torch.tensor(ids, device=device) if params.repetition_penalty != 1.0 else None
    fresh = ids  # tokens the model has not seen yet
    with _evaluating(model):
        for _ in range(params.max_tokens):
            fresh = fresh if cache else ids + new
            logits = next_logits(model, torch.tensor([fresh], device=device), store)[0]  # (V,)
            token = sample(logits, params, generator, seen)
            new.append(token)
            yield token
            if stops(new):
                return
            fresh = [token]
            if seen is not None:
                seen = torch.cat((seen, torch.tensor([token], device=device)))


@torch.inference_mode()
def next_logits(model: nn.Module, input_ids: Tensor, cache: Cache | None = None, **options: Any) -> Tensor:
    """Scores (B, V) of the token after input_ids (B, T), without the memory that training needs."""
    return model(input_ids, cache=cache, logits_to_keep=1, **options).logits[:, -1]


def generate_batch(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    params: SamplingParams | None = None,
    tokenizer: Any = None,
) -> list[Completion]:
    """Completions of many prompts in one batch, params.n for each: n of the first prompt, n of the second,
    ...

    Shorter prompts are padded on the left and their positions corrected, so a row's tokens are those it would
    get alone. Row i draws with seed + i. A row that is done waits for the others (8.1 calls this dynamic
    batching). Raises ValueError as `stream` does, naming the prompt.
    """
    params = SamplingParams() if params is None else params
    if isinstance(prompts, (str, bytes)) or not isinstance(prompts, Sequence):
        raise ValueError(f"prompts must be a list of lists of token ids, got {describe(prompts)}")
    checked = [check_prompt(model, ids, params, f"prompt {i}") for i, ids in enumerate(prompts)]
    rows = [ids for ids in checked for _ in range(params.n)]
    if not rows:
        return []
    device = next(model.parameters()).device
    longest = max(map(len, rows))
    # left padding: the last column is every row's last token, so all rows predict in the same column
    input_ids = torch.tensor([[0] * (longest - len(ids)) + ids for ids in rows], device=device)  # (B, T)
    mask = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in rows], device=device)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    store = model.new_cache(len(rows), longest + params.max_tokens)
    generators = [new_generator(params.seed, offset=i) for i in range(len(rows))]
    stops = [Stopper(model, params, tokenizer) for _ in rows]
    done = [Completion(None, [], "", [] if params.logprobs is not None else None) for _ in rows]
    attention_mask = None if bool(mask.all()) else mask
    with _evaluating(model):
        for _ in range(params.max_tokens):
            logits = next_logits(
                model, input_ids, store, attention_mask=attention_mask, position_ids=positions
            )
            fresh = []
            for i, completion in enumerate(done):
                if completion.finish_reason:
                    fresh.append(0)  # computed and thrown away
                    continue
                seen = torch.tensor(rows[i] + completion.token_ids, device=device)
                fresh.append(sample(logits[i], params, generators[i], seen))
                completion.token_ids.append(fresh[-1])
                if completion.logprobs is not None:
                    completion.logprobs.append(_logprobs(logits[i], fresh[-1], params.logprobs))
                if stops[i](completion.token_ids):
                    completion.finish_reason = "stop"
            if all(completion.finish_reason for completion in done):
                break
            input_ids = torch.tensor(fresh, device=device)[:, None]  # (B, 1)
            positions, attention_mask = positions[:, -1:] + 1, None  # the cache remembers the padding
    for completion, stop in zip(done, stops):
        completion.finish_reason = completion.finish_reason or "length"
        if tokenizer is not None:
            completion.text = stop.cut(tokenizer.decode(completion.token_ids, skip_special_tokens=True))
    return done


def _logprobs(logits: Tensor, chosen: int, best: int) -> dict[int, float]:
    """{id: log probability} of the chosen token and of the `best` most probable, under the model itself."""
    log_probabilities = logits.float().log_softmax(dim=-1)
    ids = [chosen, *log_probabilities.topk(min(best, len(log_probabilities))).indices.tolist()]
    return {i: log_probabilities[i].item() for i in ids}


class Stopper:
    """Says after each token whether a text is done: an end token, a stop sequence of ids, or a stop string."""

    def __init__(self, model: nn.Module, params: SamplingParams, tokenizer: Any = None):
        if params.stop_strings and tokenizer is None:
            raise ValueError(f"stop strings {params.stop_strings} need a tokenizer to be seen in the text")
        if tokenizer is not None and not callable(getattr(tokenizer, "decode", None)):
            raise ValueError(f"tokenizer must be a tokenizer or None, got {describe(tokenizer)}")
        self.endings = (*((i,) for i in model.eos_token_ids), *params.stop_ids)
        self.strings, self.tokenizer = params.stop_strings, tokenizer
        # a stop string of n bytes lies within the last n tokens (each token is a byte or more), the newest
        # included
        self.tail = max((len(text.encode()) for text in self.strings), default=0)

    def __call__(self, new: list[int]) -> bool:
        """Whether the new tokens end in a stop."""
        if any(new[-len(ending) :] == list(ending) for ending in self.endings):
            return True
        if not self.strings:
            return False
        text = self.tokenizer.decode(new[-self.tail - 4 :])  # 4 more: a character may have begun in them
        return any(string in text for string in self.strings)

    def cut(self, text: str) -> str:
        """The text before the first stop string in it."""
        found = [at for at in (text.find(string) for string in self.strings) if at >= 0]
        return text[: min(found)] if found else text


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
    """Dropout off inside, the model's own mode again after."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()
