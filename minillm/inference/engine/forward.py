"""One forward pass of a step's plan: tokens of many texts go through the model side by side.

Book 8.3.2 페이지어텐션. Held against each text's own pass.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minillm.inference.engine.paged_cache import PagedKVCache
from minillm.inference.engine.request import Request
from minillm.inference.engine.scheduler import Plan
from minillm.inference.loop import Evaluating, logprobs_of
from minillm.models.decoder import CausalLM


def forward(
    model: CausalLM, cache: PagedKVCache, plan: Plan
) -> tuple[dict[Request, Tensor], dict[Request, list[dict[int, float]]]]:
    """Logits (sequences, V) of the scored requests, and log probabilities of prompts that asked for them."""
    parts = [(request, piece) for request, pieces in plan.pieces.items() for piece in pieces]
    parts += [(None, piece) for piece in plan.idle]
    parts.sort(key=lambda part: part[1].chunk.count > 1)  # texts of one token first; the order stays
    ids, last, asked, at = [], {}, [], 0
    for request, piece in parts:
        start, count = piece.chunk.start, piece.chunk.count
        ids += piece.sequence.tokens(start, count)
        last[piece.sequence] = at + count - 1
        if request is not None and request.reads_prompt:
            first, end = len(request.prompt_scores) - 1, len(request.prompt) - 1
            asked += [(request, at + n - start) for n in range(max(first, start), min(end, start + count))]
        at += count
    rows = [last[sequence] for request in plan.scored for sequence in request.sequences]
    with torch.inference_mode(), Evaluating(model):
        cache.copy(plan.copies)
        positions = cache.begin([piece.chunk for _, piece in parts])
        ids = torch.tensor(ids, device=model.device)[:, None]  # (N, 1)
        hidden = model.body(ids, cache=cache, position_ids=positions).last_hidden_state[:, 0]
        wanted = torch.tensor([*rows, *(n for _, n in asked)], dtype=torch.int64, device=hidden.device)
        logits = model.head(hidden[wanted]) if len(wanted) else hidden[:0]  # (rows + asked, V)
    sizes = [len(request.sequences) for request in plan.scored]
    pieces = logits[: len(rows)].split(sizes) if sizes else ()
    said: dict[Request, list[dict[int, float]]] = {}
    for (request, _), scores in zip(asked, logits[len(rows) :]):
        new = said.setdefault(request, [])
        token = request.prompt[len(request.prompt_scores) + len(new)]
        new.append(logprobs_of(scores, token, request.params.prompt_logprobs))
    return dict(zip(plan.scored, pieces)), said
