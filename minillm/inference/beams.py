"""Beam search (빔 서치): at every step keep the most probable texts, not the most probable token alone.

    score(text) = Σ log p(token | tokens before) / length ** length_penalty

Every kept text is continued by every token. Of all these candidates the best that go on are kept, `beams` of them; one
that ends is finished, and its score then counts its length: a sum of log p falls with every token, so without the
division short texts would win. length_penalty above 0 therefore favours long texts, below 0 short ones.

    early_stopping  True     stop when `beams` texts are finished
                    False    stop when the best kept text, were it to end now, is worse than all finished ones
                    "never"  stop when it is worse even at the length that would suit it best

Book 7.1.1 언어 모델이 언어를 생성하는 방법. Papers: Graves 2012; Wu et al. 2016 (length normalisation). Held against
transformers' generate(num_beams=...): the same texts in the same order. Leaves out: drawn beams, groups of beams.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from minillm.inference.loop import (
    Evaluating,
    Row,
    decode,
    held_back,
    logprobs_of,
    prefill,
    texts_so_far,
)
from minillm.inference.params import SamplingParams
from minillm.inference.sampling import penalized
from minillm.inference.stopping import Stopper
from minillm.nn.fast_cpu import fast_layers


def beam_search(
    model: nn.Module, prompt: list[int], params: SamplingParams, stop: Stopper, cache: bool = True
) -> list[Row]:
    """The params.n best continuations of one prompt, best first, as rows whose `score` is that of the formula above.

    model: a decoder-only model, or what `conditioned` makes of an encoder-decoder. stop: of the prompt, still empty.
    """
    store = model.new_cache(1, len(prompt) + params.max_tokens) if cache else None
    kept, finished = [Row(prompt, stop, None)], []
    with torch.inference_mode(), Evaluating(model), fast_layers(model, copies=True):
        for length in range(1, params.max_tokens + 1):
            if length == 1 or store is None:
                logits, _ = prefill(model, [row.prompt + row.stop.new for row in kept], store)
            else:
                newest = torch.tensor([row.stop.new[-1] for row in kept], device=model.device)
                logits, _ = decode(model, newest, store)
            ended, going, origins = _candidates(logits, kept, params, length)
            for row in ended:
                row.score /= length**params.length_penalty
            finished = sorted(finished + ended, key=lambda row: -row.score)[: params.beams]
            if not going or _settled(finished, going[0], params, length):
                break
            kept = going
            if store is not None:
                store.select(origins)  # the past of every kept text
    return finished[: params.n]


def _candidates(
    logits: Tensor, kept: list[Row], params: SamplingParams, length: int
) -> tuple[list[Row], list[Row], list[int]]:
    """The best texts of one token more: those that end, those that go on, and the row of `kept` each of these was.

    logits: (len(kept), V). A text that ends counts only if it is among the `beams` best of all candidates.
    """
    scores = held_back(logits.float().log_softmax(dim=-1), params, kept, length - 1)
    scores = penalized(scores, params, *texts_so_far(params, kept, logits.device))
    scores = scores + torch.tensor([[row.score] for row in kept], device=scores.device)  # (len(kept), V)
    # so many that `beams` texts go on even if each end token ends `beams` others
    many = max(2, 1 + len(kept[0].stop.end_ids)) * params.beams
    best = scores.flatten().topk(min(many, scores.numel()))
    ended: list[Row] = []
    going: list[Row] = []
    origins: list[int] = []
    for rank, (score, place) in enumerate(zip(best.values.tolist(), best.indices.tolist())):
        if not math.isfinite(score):
            if rank == 0:
                raise ValueError(f"the model's scores hold {score}: no token can be chosen")
            break  # what is impossible comes last
        origin, token = divmod(place, scores.shape[-1])
        row = kept[origin].fork()
        row.score = score
        if params.logprobs is not None:
            row.logprobs.append(logprobs_of(logits[origin], token, params.logprobs))
        if row.stop(token) or length == params.max_tokens:
            ended += [row] if rank < params.beams else []
        elif len(going) < params.beams:
            going.append(row)
            origins.append(origin)
    return ended, going, origins


def _settled(finished: list[Row], best: Row, params: SamplingParams, length: int) -> bool:
    """Whether the finished texts stay as they are; best: the most probable text that could still go on."""
    if len(finished) < params.beams:
        return False
    if params.early_stopping is True:
        return True
    if params.early_stopping == "never" and params.length_penalty > 0:
        length = params.max_tokens  # the length that raises a negative score most
    return best.score / length**params.length_penalty <= finished[-1].score
