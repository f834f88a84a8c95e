"""Language models with a state (상태) instead of a KV cache: RNN, LSTM, GRU, S4D, Mamba, Mamba-2.

    body   x = embed(ids);   x, state = layers(x, state)          the state has one size, however long the text is
    head   logits = x Wᵀ                                          CausalLM's, as GPT-2's and Llama's

`new_cache` makes a StateCache, so that generate, stream and the engine run these models as they run all others.
Book 16.1-16.5. Held against the same text read from its first token.
Leaves out: padding on the left (a recurrence would read it), position ids (it needs none).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import describe
from minillm.models.base import PretrainedModel
from minillm.models.inputs import check_tokens, look_up
from minillm.models.outputs import BodyOutput
from minillm.nn.attention import padding_mask
from minillm.nn.state_cache import StateCache


class Endless:
    """What the configs share: no window, and the house's names of two fields."""

    num_hidden_layers: int
    hidden_size: int

    @property
    def max_length(self) -> int:
        """Tokens a text may have: more than anybody counts. The state does not grow."""
        return 2**30

    @property
    def num_layers(self) -> int:
        """Layers, one upon the other."""
        return self.num_hidden_layers

    @property
    def width(self) -> int:
        """Width of the model, C."""
        return self.hidden_size


class StateBody(PretrainedModel):
    """What the bodies share. `build` makes `tokens` and the layers; `state_shapes` and `run` say what they remember."""

    tokens: nn.Embedding
    generates = False  # without its output matrix

    def state_shapes(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """(shape without B, dtype) of each state."""
        raise NotImplementedError

    def run(
        self, x: Tensor, states: Sequence[Tensor] | None, hidden: list[Tensor] | None
    ) -> tuple[Tensor, list[Tensor]]:
        """x (B, T, C) through all layers -> (x, the states after the last token).

        states: None where nobody remembers (a text by itself); then no states need come back. hidden: takes the
        hidden states, where they were asked for.
        """
        raise NotImplementedError

    def new_cache(self, batch_size: int, max_length: int = 1) -> StateCache:
        """The states of so many texts before their first token: zeros. max_length is of no use: they do not grow."""
        return StateCache([
            torch.zeros(batch_size, *shape, dtype=dtype, device=self.device) for shape, dtype in self.state_shapes()
        ])  # fmt: skip

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: StateCache | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> BodyOutput:
        """Hidden states (B, T, C) of input_ids (B, T) int64, or of inputs_embeds (B, T, C) in their place.

        attention_mask: (B, T) of 1 = token, 0 = padding, which may stand on the right only, and with a cache nowhere.
        cache: the states after the tokens before; what comes in is new. A call that fails leaves it as it was.
        Raises ValueError for wrong shapes or dtypes, ids outside the vocabulary, padding that would be read, and
        position_ids: the order of the tokens is all that a recurrence knows of places.
        """
        if position_ids is not None:
            raise ValueError(f"position_ids must be None for a recurrence, got {describe(position_ids)}")
        B, T = check_tokens(self, input_ids, inputs_embeds)
        if cache is None:
            check_right_padding(attention_mask, B, T)
        else:
            self._check_cache(cache)
        hidden: list[Tensor] | None = [] if output_hidden_states else None
        with nullcontext() if cache is None else cache.all_or_nothing():
            if cache is not None:
                cache.extend(attention_mask, B, T)
            x = look_up(self.tokens, input_ids) if inputs_embeds is None else inputs_embeds
            x, states = self.run(x, None if cache is None else cache.states, hidden)
            if cache is not None:
                cache.commit([state.detach() for state in states], T)
        return BodyOutput(x, None if hidden is None else tuple(hidden))

    def _check_cache(self, cache: Any) -> None:
        if not isinstance(cache, StateCache):
            raise ValueError(f"cache must be a StateCache or None, got {describe(cache)}")
        # asked for every token: the model's dtype is read off one weight, not off the first of all parameters
        mine, theirs = self.state_shapes(), [tuple(state.shape[1:]) for state in cache.states]
        if [shape for shape, _ in mine] != theirs:
            raise ValueError(f"the cache is of another model: {len(theirs)} states, the first {theirs[:2]}")


def check_right_padding(attention_mask: Tensor | None, B: int, T: int) -> None:
    """ValueError for an attention_mask that is not (B, T), or in which a token stands behind padding."""
    if attention_mask is None:
        return
    mask = padding_mask(attention_mask)[:, 0, 0]  # bool (B, T)
    if mask.shape != (B, T):
        raise ValueError(f"attention_mask must have shape {(B, T)}, got {tuple(attention_mask.shape)}")
    if bool((mask[:, 1:] & ~mask[:, :-1]).any()) or not bool(mask[:, 0].all()):
        raise ValueError(
            "a recurrence reads padding before a token: pad on the right, or read the texts one by one"
        )
