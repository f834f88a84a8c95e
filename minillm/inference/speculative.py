"""Speculative decoding (추측 디코딩): a cheap drafter guesses k tokens, the target checks them all in one pass.

    text      ... the cat            drafted   sat on the roof
    target    one pass over 5 tokens gives p for 5 places:  sat ✓  on ✓  the ✓  roof ✗ -> mat      4 tokens, 1 pass

One token costs the target a reading of all its weights; five side by side cost hardly more. A drafted token x, drawn
from q, is kept by this rule, and then what is written has the distribution p, whatever q is:

    keep x with probability min(1, p(x) / q(x));     else draw anew from max(p - q, 0), normalised, and stop there
    all k kept: one more token from p, which the pass has given already

Why: x comes to be written as a draft with q(x) · min(1, p(x)/q(x)) = min(p, q)(x), and the rest, max(p - q, 0)(x), is
what p lacks. Greedy is the same rule with p and q that are certain. p is the target's distribution after everything
that SamplingParams asks for, given the text with the drafts before it: penalties see them, too.

Book 8.3.3 추측 디코딩. Papers: Leviathan et al. 2023, Chen et al. 2023; prompt lookup: Saxena 2023. Held against
`generate` (greedy) and the exact distribution. Leaves out: trees of drafts, several texts at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_int, check_number, describe
from minillm.inference.conditioned import is_encoder_decoder
from minillm.inference.drafting import Drafter, DraftModel, PromptLookup, Reader, drawn, probabilities
from minillm.inference.generate import check_prompt, check_stream, steady_window
from minillm.inference.loop import Row
from minillm.inference.params import SamplingParams
from minillm.inference.sampling import new_generator, race
from minillm.inference.stopping import Stopper
from minillm.nn.fast_cpu import fast_layers
from minillm.nn.state_cache import has_states

# The rule


def accept_draft(p: Tensor, q: Tensor, drafted: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """What is written in the place of each drafted token, (B,) int64: the token itself, or another one.

    p, q: the target's and the drafter's probabilities (B, V), float; drafted (B,), int64: tokens drawn from q. The
    result is distributed as p. ValueError for shapes that do not fit, rows that are no probabilities (scores, NaN), and
    a token that q never draws.
    """
    check_rule(p, q, drafted)
    return keep_or_draw(p, q, drafted, generator)


def keep_or_draw(p: Tensor, q: Tensor, drafted: Tensor, generator: torch.Generator | None) -> Tensor:
    """`accept_draft` without the checks, which take longer than the rule: what the loop below runs."""
    at = drafted[:, None]
    ratio = (p.gather(-1, at) / q.gather(-1, at))[:, 0]  # p(x) / q(x)
    kept = torch.empty_like(ratio).uniform_(generator=generator) < ratio
    if kept.all():
        return drafted
    rest = (p - q).clamp(min=0)
    nothing = rest.sum(dim=-1, keepdim=True) == 0  # p and q are equal up to rounding
    rest = torch.where(nothing, p, rest)
    return torch.where(kept, drafted, race(rest, torch.empty_like(rest).exponential_(generator=generator)))


def check_rule(p: Tensor, q: Tensor, drafted: Tensor) -> None:
    """ValueError for what is no case of `accept_draft`."""
    for name, one in (("p", p), ("q", q), ("drafted", drafted)):
        if not isinstance(one, Tensor):
            raise ValueError(f"{name} must be a tensor, got {describe(one)}")
    if p.dim() != 2 or p.shape != q.shape or drafted.shape != p.shape[:1] or not p.shape[1]:
        shapes = tuple(p.shape), tuple(q.shape), tuple(drafted.shape)
        raise ValueError(f"p, q and drafted must have shapes (B, V), (B, V) and (B,), got {shapes}")
    if not (p.is_floating_point() and q.is_floating_point()) or drafted.dtype not in (
        torch.int32,
        torch.int64,
    ):
        kinds = p.dtype, q.dtype, drafted.dtype
        raise ValueError(f"p and q must be floating point and drafted whole numbers, got {kinds}")
    if len(p):
        check_rows(p), check_rows(q)
        least, most = (int(one) for one in drafted.aminmax())
        if least < 0 or most >= p.shape[1] or not q.gather(-1, drafted[:, None]).min() > 0:
            raise ValueError(
                f"drafted must be tokens that q draws, 0 to {p.shape[1] - 1}, got {drafted.tolist()[:8]}"
            )


def check_rows(rows: Tensor) -> None:
    """ValueError where a row of (B, V) is no distribution. bfloat16's sums are within 0.004."""
    if not (rows.sum(-1, dtype=torch.float32) - 1).abs().max() < 0.01 or rows.min() < 0:
        raise ValueError("rows must be probabilities: none below 0 or NaN, each with a sum of 1")


# The loop


class Speculation(Iterator[list[int]]):
    """The new tokens, pass by pass of the target: `next` gives those of one pass, from one to k + 1.

    Arguments and errors as of `speculative_generate`. Whenever it stands still: `token_ids` so far; `finish_reason`,
    None while it goes on, else "stop" or "length"; `passes` of the target, the one that read the prompt included;
    `drafted` tokens, those of them `tried` (up to the first one refused) and `accepted`.
    """

    def __init__(
        self,
        target: nn.Module,
        draft: nn.Module | Drafter | None,
        ids: Sequence[int],
        params: SamplingParams | None = None,
        k: int = 4,
        tokenizer: Any = None,
    ) -> None:
        self.params = SamplingParams() if params is None else params
        prompt = check_stream(target, ids, self.params, True)
        self.k = check_int("k", k, 1)
        longest = len(prompt) + self.params.max_tokens
        if is_encoder_decoder(target):
            raise ValueError(f"target must be a decoder-only language model, got {type(target).__name__}")
        for one in (target, draft):
            if isinstance(one, nn.Module) and hasattr(one, "new_cache") and has_states(one):
                raise ValueError(
                    f"the state of a {type(one).__name__} cannot go back to before a refused draft"
                )
        if longest > steady_window(target):
            raise ValueError(
                f"ids and max_tokens make {longest} tokens, but drafts are checked within {steady_window(target)} "
                "(rotary positions with dynamic scaling: the trained window)"
            )
        if isinstance(draft, nn.Module):
            _check_draft(draft, target, prompt, self.params)
        elif draft is not None and not callable(getattr(draft, "draft", None)):
            raise ValueError(f"draft must be a model, a drafter or None, got {describe(draft)}")
        self.generator = new_generator(self.params.seed, target.device)
        self.row = Row(prompt, Stopper(target, self.params, tokenizer, prompt), self.generator)
        self.passes = self.drafted = self.tried = self.accepted = 0
        self.finish_reason: str | None = None
        self._read, self._models = Reader(target, longest), [target]
        self._drafter: Drafter = PromptLookup() if draft is None else draft
        if isinstance(draft, nn.Module):
            self._drafter = DraftModel(draft, longest, self.params, self.generator)
            self._models.append(draft)
        self._steps = self._loop()

    @property
    def token_ids(self) -> list[int]:
        """The new tokens so far."""
        return self.row.stop.new

    @property
    def acceptance_rate(self) -> float:
        """Accepted of those tried: the papers' α, what `expected_speed_up` asks for; nan where none was tried."""
        return self.accepted / self.tried if self.tried else float("nan")

    @property
    def tokens_per_pass(self) -> float:
        """New tokens a pass of the target; nan before the first."""
        return len(self.token_ids) / self.passes if self.passes else float("nan")

    def __next__(self) -> list[int]:
        return next(self._steps)

    def _loop(self) -> Iterator[list[int]]:
        stop, most = self.row.stop, self.params.max_tokens
        with ExitStack() as layers:
            for model in self._models:
                layers.enter_context(fast_layers(model, copies=True))
            while self.finish_reason is None:
                before = len(stop.new)
                count = min(self.k, most - before - 1)  # the pass gives one token more than there are drafts
                drafts = self._drafter.draft(self.row, count) if count else []
                if not isinstance(self._drafter, (DraftModel, PromptLookup)):
                    check_drafts(drafts, count, self._models[0].config.vocab_size)
                self._check(drafts)
                if stop.done or len(stop.new) == most:
                    self.finish_reason = "stop" if stop.done else "length"
                yield stop.new[before:]

    def _check(self, drafts: list[tuple[int, Tensor | None]]) -> None:
        """One pass of the target: the drafts that it accepts, and one token of its own, go to the row."""
        row, tokens = self.row, [token for token, _ in drafts]
        scores = self._read(row.prompt + row.stop.new + tokens, keep=len(drafts) + 1)  # (drafts + 1, V)
        self.passes += 1
        self.drafted += len(drafts)
        for (token, q), of_place in zip(drafts, scores):
            p = probabilities(of_place, self.params, row)
            drafted = torch.tensor([token], device=p.device)
            q = F.one_hot(drafted, len(p)).float() if q is None else q[None]
            chosen = int(keep_or_draw(p[None], q, drafted, self.generator))
            self.tried += 1
            self.accepted += chosen == token
            if row.stop(chosen) or chosen != token:
                return
        row.stop(drawn(probabilities(scores[-1], self.params, row), self.params, self.generator))


def speculative_generate(
    target: nn.Module,
    draft: nn.Module | Drafter | None,
    ids: Sequence[int],
    params: SamplingParams | None = None,
    k: int = 4,
    tokenizer: Any = None,
) -> list[int]:
    """The new token ids that follow the prompt `ids`: distributed as the target's own, and greedy the same tokens.

    target: a decoder-only language model. draft: a smaller one of the same vocabulary, a drafter (PromptLookup), or
    None for PromptLookup(). k: tokens drafted a pass, at least 1. params, tokenizer: as in `generate`; a seed gives the
    same text again, but not the text that `generate` draws with it. Greedy tokens may differ where two scores are
    equal up to the rounding of a wider pass. How it went: `Speculation`.
    Raises ValueError as `generate`, for beams and best_of, for a draft of another vocabulary or too short a window.
    """
    return [token for tokens in Speculation(target, draft, ids, params, k, tokenizer) for token in tokens]


def check_drafts(drafts: Any, count: int, vocabulary: int) -> None:
    """ValueError for what no drafter may give; `count` pairs at most of a token and its probabilities (V,), or None."""
    if not isinstance(drafts, (list, tuple)):
        raise ValueError(f"draft must give a list of (token, probabilities), it gave {describe(drafts)}")
    if len(drafts) > count:
        raise ValueError(f"draft must give {count} tokens at most, it gave {len(drafts)}")
    for one in drafts:
        if not isinstance(one, (list, tuple)) or len(one) != 2 or not isinstance(one[1], Tensor | None):
            raise ValueError(f"draft must give pairs (token, probabilities or None), it gave {describe(one)}")
        check_int("a drafted token", one[0], 0, vocabulary - 1)
        if one[1] is not None:
            if one[1].shape != (vocabulary,):
                raise ValueError(f"draft must give probabilities ({vocabulary},), it gave {describe(one[1])}")
            check_rule(one[1][None], one[1][None], torch.tensor([one[0]], device=one[1].device))


def check_draft_model(draft: nn.Module, target: nn.Module) -> None:
    """ValueError for a draft model that does not write the target's tokens."""
    ours, theirs = target.config.vocab_size, getattr(getattr(draft, "config", None), "vocab_size", None)
    if theirs != ours:
        raise ValueError(f"draft must have the target's vocabulary of {ours} tokens, got {theirs}")
    if is_encoder_decoder(draft):
        raise ValueError(f"draft must be a decoder-only language model, got {type(draft).__name__}")


def _check_draft(draft: nn.Module, target: nn.Module, prompt: list[int], params: SamplingParams) -> None:
    check_draft_model(draft, target)
    try:
        check_prompt(draft, prompt, params)
    except ValueError as error:
        raise ValueError(f"draft does not fit: {error}") from None


# What to expect


def expected_tokens(acceptance: float, k: int) -> float:
    """New tokens a pass of the target: 1 + α + α² + ... + α^k = (1 - α^(k+1)) / (1 - α); Leviathan et al., eq. 1.

    acceptance: α, the probability that a draft is accepted, the same for all. ValueError for α outside 0 to 1.
    """
    check_number("acceptance", acceptance, 0.0, 1.0)
    check_int("k", k, 0)
    return float(k + 1) if acceptance == 1 else (1 - acceptance ** (k + 1)) / (1 - acceptance)


def expected_speed_up(acceptance: float, k: int, cost_ratio: float, check_ratio: float = 1.0) -> float:
    """How many times faster than one pass a token: expected tokens / (k · cost_ratio + check_ratio).

    cost_ratio: c, time of a drafted token / time of the target's pass over one token. check_ratio: time of its pass
    over k + 1 tokens / over one, above 0; the papers take 1, which a GPU comes near to (Leviathan et al., theorem 3.8).
    ValueError for prices that are none.
    """
    check_number("cost_ratio", cost_ratio, 0.0)
    if check_number("check_ratio", check_ratio, 0.0) == 0:
        raise ValueError("check_ratio must be above 0: a pass takes time")
    return expected_tokens(acceptance, k) / (k * cost_ratio + check_ratio)
