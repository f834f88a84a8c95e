"""The loop that writes: score the next token, choose one, append it, repeat, until a stop or the budget.

    prefill   all prompt tokens at once, their keys and values go to the cache        (one wide forward pass)
    decode    one token in, one token out, everything older read from the cache       (many narrow ones)

One loop for one text and for many. Beams have a loop of their own (beams.py), of the same two passes. Book 7.1 언어
모델 추론 이해하기. Held against transformers' generate. Leaves out: paging and continuous batching (8장).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from minillm._checks import describe
from minillm.inference.fused import FusedStep
from minillm.inference.params import SamplingParams
from minillm.inference.sampling import apply_no_repeat_ngrams, sample_rows
from minillm.inference.stopping import Stopper
from minillm.nn.cache import Cache, KVCache
from minillm.nn.fast_cpu import fast_layers
from minillm.nn.modes import Evaluating


@dataclass
class Row:
    """One text of a batch: its prompt, what takes its new tokens (`stop.new`) and ends it, what draws them."""

    prompt: list[int]
    stop: Stopper
    generator: torch.Generator | None
    logprobs: list[dict[int, float]] = field(default_factory=list)
    score: float = 0.0  # sum of the log probabilities of the new tokens, where something asks for it

    def fork(self) -> Row:
        """A row that goes on from here by itself."""
        return replace(self, stop=self.stop.fork(), logprobs=list(self.logprobs))


def prefill(
    model: nn.Module, texts: Sequence[Sequence[int]], cache: Cache | None
) -> tuple[Tensor, Tensor | None]:
    """All tokens of the texts in one wide pass, behind those that the cache holds; their keys and values go to it.

    Returns the scores (B, V) of what follows each text, and where each text's last token stands (B, 1); None where
    no text is padded, because the cache's length says it then. ValueError for no text, and for one without a token.
    """
    input_ids, mask, positions = left_padded(texts, model.device)  # (B, T) each
    logits = next_logits(model, input_ids, cache, mask, positions)
    return logits, None if positions is None else positions[:, -1:]


def decode(
    model: nn.Module, newest: Tensor, cache: Cache, last: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """One token a text, `newest` (B,), in a narrow pass; the cache holds everything older, padding included.

    last: where the tokens before stand, from `prefill` or the `decode` before. Returns what `prefill` does. ValueError
    for other shapes, and for no cache: without one, `prefill` reads the whole texts.
    """
    _check_step(newest, cache, last)
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


def generation_loop(
    model: nn.Module, rows: list[Row], params: SamplingParams, cache: bool | KVCache = True
) -> Iterator[tuple[list[int], list[int], Tensor]]:
    """New tokens step by step: (the rows still at work, one token a row, the model's logits (B, V)).

    cache: True for a new one, False for none, or, for one row, a cache that holds its first tokens already.
    """
    store = store_of(model, rows, params, cache)
    active = list(range(len(rows)))
    newest = last = None  # tokens (B,) of the step before, and where they stand
    fused = FusedStep.of(model, store)  # `decode` as one compiled function, for one text on a CPU; else None
    with fast_layers(model, copies=True):
        for step in range(params.max_tokens):
            with torch.inference_mode(), Evaluating(model):
                if step == 0 or store is None:  # without a cache every step reads the whole texts
                    known = 0 if store is None else store.length
                    unread = [(row.prompt + row.stop.new)[known:] for row in rows]
                    logits, last = prefill(model, unread, store)
                elif fused is not None:
                    logits = fused(rows[0].stop.new[-1])
                else:
                    logits, last = decode(model, newest, store, last)
                newest = _choose(logits, params, rows, active, step)  # (B,)
            tokens = newest.tolist()
            going = [i for i in active if not rows[i].stop(tokens[i])]
            yield active, tokens, logits
            active = going
            if not active:
                return


def store_of(
    model: nn.Module, rows: list[Row], params: SamplingParams, cache: bool | KVCache
) -> Cache | None:
    """A new cache with room for all of the rows, none, or the one that was handed in."""
    if not isinstance(cache, bool):
        return cache
    longest = max(len(row.prompt) for row in rows) + params.max_tokens
    return model.new_cache(len(rows), longest) if cache else None


def left_padded(
    rows: Sequence[Sequence[int]], device: torch.device
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Rows of ids as (input_ids, attention_mask, position_ids), each (B, T) int64; None, None if none is padded.

    The last column is every row's last token, so that all rows predict in the same column. A row is padded with
    its own first id: hidden by the mask, and nothing new to a repetition penalty. ValueError for no row, or an empty
    one.
    """
    _check_rows(rows)
    longest = max(map(len, rows))
    input_ids = torch.tensor([[*row[:1]] * (longest - len(row)) + [*row] for row in rows], device=device)
    if min(map(len, rows)) == longest:
        return input_ids, None, None
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
    return input_ids, mask, (mask.cumsum(dim=1) - 1).clamp(min=0)


def _check_rows(rows: Sequence[Sequence[int]]) -> None:
    """ValueError unless there is at least one row, and an id in each."""
    whole = hasattr(rows, "__len__") and len(rows) and not isinstance(rows, str)
    if not whole or not all(
        hasattr(row, "__len__") and not isinstance(row, str) and len(row) for row in rows
    ):
        raise ValueError(f"texts must be lists of at least one token id each, got {describe(rows)}")


def _check_step(newest: Tensor, cache: Cache, last: Tensor | None) -> None:
    """ValueError for what is no step of `decode`."""
    if not isinstance(newest, Tensor) or newest.ndim != 1:
        raise ValueError(f"newest must be a LongTensor (B,) of one id a text, got {describe(newest)}")
    if cache is None:
        raise ValueError("decode reads what is older from a cache, got None")
    if last is not None and (not isinstance(last, Tensor) or last.shape != (len(newest), 1)):
        raise ValueError(
            f"last must be positions {(len(newest), 1)}, as prefill gives them, got {describe(last)}"
        )


def _choose(logits: Tensor, params: SamplingParams, rows: list[Row], active: list[int], step: int) -> Tensor:
    """The newest token (B,) of every active row; 0 for rows that are done, which cost nothing here."""
    at_work = [rows[i] for i in active]
    generators = [row.generator for row in at_work]
    whole = len(active) == len(rows)
    scores = held_back(logits if whole else logits[active], params, at_work, step)
    chosen = sample_rows(scores, params, generators, *texts_so_far(params, at_work, logits.device))
    if whole:
        return chosen
    newest = torch.zeros(len(rows), dtype=torch.int64, device=logits.device)
    newest[active] = chosen
    return newest


def held_back(logits: Tensor, params: SamplingParams, rows: Sequence[Row], step: int) -> Tensor:
    """Scores (B, V), -∞ for what must not come: an end before params.min_tokens, an n-gram that is there already, a
    token that leads out of params.json_schema or params.calls.
    """
    if step < params.min_tokens:
        ends = [i for i in rows[0].stop.end_ids if i < logits.shape[1]]
        logits = logits.index_fill(1, torch.tensor(ends, dtype=torch.int64, device=logits.device), -torch.inf)
    if params.no_repeat_ngram_size:
        texts = [row.prompt + row.stop.new for row in rows]
        logits = apply_no_repeat_ngrams(logits, texts, params.no_repeat_ngram_size)
    if params.json_schema is not None or params.calls is not None:
        allowed = torch.stack([row.stop.allowed(logits.shape[1]) for row in rows])
        logits = logits.masked_fill(~allowed.to(logits.device), -torch.inf)
    return logits


def texts_so_far(
    params: SamplingParams, rows: Sequence[Row], device: torch.device
) -> tuple[Tensor | None, Tensor | None]:
    """What penalties ask for: the ids of each text (B, T), and of its new tokens (B, N); None where none asks."""
    seen = new = None
    if params.repetition_penalty != 1.0:
        seen = left_padded([row.prompt + row.stop.new for row in rows], device)[0]
    if params.frequency_penalty or params.presence_penalty:  # rows at work have made the same number
        new = torch.tensor([row.stop.new for row in rows], dtype=torch.int64, device=device)
    return seen, new


def logprobs_of(logits: Tensor, chosen: int, best: int) -> dict[int, float]:
    """{id: log probability} of the chosen token and the `best` most probable, under the model itself; logits (V,)."""
    log_probabilities = logits.float().log_softmax(dim=-1)
    ids = [chosen, *log_probabilities.topk(min(best, len(log_probabilities))).indices.tolist()]
    return {i: log_probabilities[i].item() for i in ids}
