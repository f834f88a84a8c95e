"""One forward pass of a step's plan: what is new of every text goes through the model, and its scores come back.

Book 8.3.2 페이지어텐션. Held against each text's own pass.
"""

from __future__ import annotations

from torch import Tensor

from minillm.inference.engine.paged_cache import Chunk
from minillm.inference.engine.request import Request
from minillm.inference.engine.runner import Part, Runner
from minillm.inference.engine.scheduler import Plan
from minillm.inference.loop import logprobs_of

Scores = dict[int, float]  # {token: log probability}


def forward(runner: Runner, plan: Plan) -> tuple[dict[Request, list[Tensor]], dict[Request, list[Scores]]]:
    """Logits of the scored requests, and log probabilities of prompts that asked for them.

    A scored request has for each of its sequences the logits (1 + drafts, V) after its newest token and its drafts.
    """
    parts, owners = [], []  # the request of each part, and for how many tokens of its prompt scores are asked
    for request, pieces in plan.pieces.items():
        for piece in pieces:
            start, count = piece.chunk.start, piece.chunk.count
            drafts = plan.drafts.get(piece.sequence, [])
            places = 1 + len(drafts) if request in plan.scored else 0
            asked = range(0)
            if request.reads_prompt:
                first, end = len(request.prompt_scores) - 1, len(request.prompt) - 1
                asked = range(max(first, start), min(end, start + count))
            scored = max(places, start + count + len(drafts) - asked.start if asked else 0)
            ids = piece.sequence.tokens(start, count) + drafts
            parts.append(Part(Chunk(piece.chunk.blocks, start, len(ids)), ids, scored))
            owners.append((request, places, len(asked)))
    for piece in plan.idle:
        parts.append(Part(piece.chunk, piece.sequence.tokens(piece.chunk.start, 1)))
    logits: dict[Request, list[Tensor]] = {request: [] for request in plan.scored}
    said: dict[Request, list[Scores]] = {}
    for (request, places, asked), scores in zip(owners, runner.run(parts)):
        if places:
            logits[request].append(scores[len(scores) - places :])
        new = said.setdefault(request, []) if asked else []
        for of_place in scores[:asked]:
            token = request.prompt[len(request.prompt_scores) + len(new)]
            new.append(logprobs_of(of_place, token, request.params.prompt_logprobs))
    return logits, said
