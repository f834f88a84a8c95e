"""A model whose state has a fixed size: every text has one slot, whatever its length.

    slot   0        1        2                 a text takes one and gives it back
           [A]      -        [B]               copies of a text (n > 1, beams) get slots of their own

The scheduler and BlockManager need to know nothing of it: a slot is a block that is never full. There are no pages, and
texts with the same beginning have nothing to share: a state stands for the whole text. A text that had to give up its
slot is read anew (preemption by recompute), as with pages. Texts with as many new tokens go through the model together,
others one after another: a recurrence cannot skip padding.
Book 8.3.2 페이지어텐션 (what it does not need). Held against each text alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from minillm.inference.engine.runner import Part
from minillm.inference.loop import Evaluating
from minillm.nn.lora import adapter_rows
from minillm.nn.state_cache import StateCache


class SlotCache:
    """The states of `num_slots` texts: for each of the model's states a tensor (num_slots, ...)."""

    def __init__(self, model: nn.Module, num_slots: int) -> None:
        with torch.inference_mode(False):
            self.fresh = model.new_cache(1, 1).states  # (1, ...) each: before the first token
            self.states = [one.detach().repeat(num_slots, *[1] * (one.dim() - 1)) for one in self.fresh]

    @property
    def nbytes(self) -> int:
        """Bytes of all slots."""
        return sum(state.nbytes for state in self.states)

    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Slots (from, to), one after another."""
        for source, target in pairs:
            for state in self.states:
                state[target] = state[source]

    def clear(self, slot: int) -> None:
        """A new text begins there."""
        for state, fresh in zip(self.states, self.fresh):
            state[slot] = fresh[0]

    def take(self, slots: list[int]) -> StateCache:
        """The states of these slots, for a pass."""
        return StateCache([state[slots] for state in self.states])

    def put(self, slots: list[int], cache: StateCache) -> None:
        """The states after the pass."""
        for state, new in zip(self.states, cache.states):
            state[slots] = new


class SlotRunner:
    """A Runner (runner.py) over slots; the only block of a text is its slot."""

    def __init__(self, model: nn.Module, num_slots: int) -> None:
        self.model, self.cache = model, SlotCache(model, num_slots)

    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        """As Runner's."""
        with torch.inference_mode():
            self.cache.copy(pairs)

    def run(self, parts: Sequence[Part]) -> list[Tensor]:
        """As Runner's."""
        scores: list[Tensor] = [torch.empty(0)] * len(parts)
        together: dict[int, list[int]] = {}
        for i, part in enumerate(parts):
            together.setdefault(len(part.ids), []).append(i)
        with torch.inference_mode(), Evaluating(self.model):
            for group in together.values():
                for i, logits in zip(group, self._pass([parts[i] for i in group])):
                    scores[i] = logits[len(logits) - parts[i].scored :]
        return scores

    def _pass(self, parts: list[Part]) -> Tensor:
        """Logits (texts, places, V) of texts with the same number of new tokens."""
        slots = [part.chunk.blocks[0] for part in parts]
        for part, slot in zip(parts, slots):
            if part.chunk.start == 0:
                self.cache.clear(slot)
        cache = self.cache.take(slots)
        ids = torch.tensor([part.ids for part in parts], device=self.model.device)
        places = max(1, *(part.scored for part in parts))
        with adapter_rows(self.model, [part.adapter for part in parts]):
            logits = self.model(ids, cache=cache, logits_to_keep=places).logits
        self.cache.put(slots, cache)
        return logits
