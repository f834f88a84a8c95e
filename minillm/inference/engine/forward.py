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
    scored = set(plan.scored)
    for request, pieces in plan.pieces.items():
        for piece in pieces:
            chunk, drafts = piece.chunk, plan.drafts.get(piece.sequence, [])
            ids = piece.sequence.tokens(chunk.start, chunk.count) + drafts
            if drafts:
                chunk = Chunk(chunk.blocks, chunk.start, len(ids))
            places = 1 + len(drafts) if request in scored else 0
            asked = _asked(request, piece.chunk) if request.reads_prompt else range(0)
            before = chunk.start + len(ids) - asked.start if asked else 0  # from there on scores are wanted
            parts.append(Part(chunk, ids, max(places, before), piece.adapter))
            owners.append((request, places, len(asked)))
    for piece in plan.idle:
        parts.append(Part(piece.chunk, piece.sequence.tokens(piece.chunk.start, 1), adapter=piece.adapter))
    logits: dict[Request, list[Tensor]] = {request: [] for request in plan.scored}
    said: dict[Request, list[Scores]] = {}
    for (request, places, asked), scores in zip(owners, runner.run(parts)):
        if places:
            logits[request].append(scores[-places:] if asked else scores)
        if asked:
            new = said.setdefault(request, [])
            for of_place in scores[:asked]:
                token = request.prompt[len(request.prompt_scores) + len(new)]
                new.append(logprobs_of(of_place, token, request.params.prompt_logprobs))
    return logits, said


def _asked(request: Request, chunk: Chunk) -> range:
    """The places of a piece after which a token of the prompt stands whose score is wanted."""
    first, end = len(request.prompt_scores) - 1, len(request.prompt) - 1
    return range(max(first, chunk.start), min(end, chunk.start + chunk.count))
