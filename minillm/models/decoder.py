"""The decoder-only language model: token ids in, a score for every possible next token out.

    body   x = embed(ids);   x = block(x) for every block;   norm(x)
    head   logits = body(ids) Wᵀ

Book 2.6 디코더, 2.7 BERT, GPT, T5 등 트랜스포머를 활용한 아키텍처, 3.3.1 모델 활용하기 (body and head). GPT-2 and Llama
are this frame with other parts: their `run` is the body. Here stand the masks and the head; inputs.py checks what
comes in. Held against transformers' GPT2LMHeadModel and LlamaForCausalLM.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from minillm._checks import check_int, describe
from minillm.models.base import PretrainedModel, Weight
from minillm.models.heads import ModelWithHead
from minillm.models.inputs import check_padding, check_pairs, check_tokens, look_up
from minillm.models.outputs import BodyOutput, CausalLMOutput
from minillm.nn.backends import window_mask
from minillm.nn.cache import Cache


@dataclass
class Pass:
    """One forward pass, checked: its tokens, where they stand and what each may see.

    tokens: ids (B, T) int64, or embeddings (B, T, C) in their place. positions: of the first token, or LongTensor
    (B, T). keys: S, how many tokens there are with the cached ones. masks: for each window in use the bool mask
    (B or 1, 1, T, S), or None where the blocks' own causal mask does.
    """

    tokens: Tensor
    positions: int | Tensor
    keys: int
    masks: Mapping[int | None, Tensor | None]
    cache: Cache | None
    states: list[Tensor] | None = None  # what `hidden_states` will hold, if it was asked for

    def embed(self, table: nn.Embedding) -> Tensor:
        """The rows (B, T, C) of the tokens; ValueError for ids that the table does not have."""
        return self.tokens if self.tokens.is_floating_point() else look_up(table, self.tokens)

    def keep(self, x: Tensor) -> Tensor:
        """x (B, T, C), remembered as one of the hidden states."""
        if self.states is not None:
            self.states.append(x)
        return x


class DecoderBody(PretrainedModel):
    """What the bodies of GPT-2 and Llama share. `build` makes tokens, blocks, norm and windows; `run` uses them."""

    tokens: nn.Embedding
    blocks: nn.ModuleList
    norm: nn.Module
    generates = False  # without its output matrix
    windows: tuple[int | None, ...]  # tokens each block looks back over, itself included; None: all

    def run(self, step: Pass) -> Tensor:
        """The tokens of a pass through embedding, all blocks and the last norm -> (B, T, C)."""
        raise NotImplementedError

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> BodyOutput:
        """Hidden states (B, T, C) of input_ids (B, T) int64, or of inputs_embeds (B, T, C) in their place.

        attention_mask: (B, T) of 1 = token, 0 = padding; with a cache also (B, past + T). A cache remembers
        the padding it has seen. Without a cache also bool (B, 1, T, T): which token may see which before it.
        cache: holds keys and values of the tokens before; what comes in is new. A call
        that fails leaves it as it was. position_ids: (B, T) int64; by default counted on from the cache whatever
        the mask says, as in transformers (left-padded rows of a GPT-2 need them; `minillm.inference.generate_batch`
        passes them). Raises ValueError for wrong shapes or dtypes, ids outside the vocabulary, and texts past
        config.max_length.
        """
        if cache is not None and not hasattr(cache, "attend"):
            raise ValueError(f"cache must be a KVCache or None, got {describe(cache)}")
        past = 0 if cache is None else cache.length
        B, T = check_tokens(self, input_ids, inputs_embeds, position_ids, past)
        with nullcontext() if cache is None else cache.all_or_nothing():
            if cache is not None:
                attention_mask = cache.extend(attention_mask, B, T)
            tokens = input_ids if inputs_embeds is None else inputs_embeds
            step = Pass(
                tokens=tokens,
                positions=past if position_ids is None else position_ids,
                keys=past + T,
                masks=self._masks(B, T, past + T, attention_mask, tokens.device),
                cache=cache,
                states=[] if output_hidden_states else None,
            )
            hidden = self.run(step)
            if cache is not None and cache.length != past + T:
                raise ValueError(
                    f"the cache is of another model: it should hold {past + T} tokens now, it has {cache.length}"
                )
        if step.states is None:
            return BodyOutput(hidden)
        return BodyOutput(hidden, (*step.states[:-1], hidden))

    def _masks(
        self, B: int, T: int, S: int, attention_mask: Tensor | None, device: torch.device
    ) -> dict[int | None, Tensor | None]:
        """The mask of each window width in use; None where the blocks' own causal mask says it all."""
        if isinstance(attention_mask, Tensor) and attention_mask.dim() == 4:
            padding = check_pairs(attention_mask, B, T, S)
        else:
            padding = check_padding(attention_mask, B, S)
        masks: dict[int | None, Tensor | None] = {}
        for window in set(self.windows):
            masks[window] = padding
            if window is not None and window < S:
                recent = window_mask(T, S, window, device)
                masks[window] = recent if padding is None else recent & padding
        return masks


class CausalLM(ModelWithHead):
    """A language model: a body, and an output matrix that scores the next token. GPT2 and Llama are two of them."""

    body_class: ClassVar[type[DecoderBody]]
    weights = (Weight("head.weight", "lm_head.weight"),)
    output = "head"  # the embedding table when the config says so

    def build_head(self, config: Any) -> None:
        """The output matrix."""
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        logits_to_keep: int = 0,
    ) -> CausalLMOutput:
        """Logits (B, T, V) of input_ids (B, T) int64. The arguments are DecoderBody.forward's.

        logits_to_keep: last positions to give logits for, 0 for all. ValueError as the body, and for more than T.
        """
        if logits_to_keep != 0:
            given = input_ids if inputs_embeds is None else inputs_embeds
            check_int(
                "logits_to_keep", logits_to_keep, 0, given.shape[1] if isinstance(given, Tensor) else None
            )
        with nullcontext() if not hasattr(cache, "all_or_nothing") else cache.all_or_nothing():
            out = self.body(
                input_ids, attention_mask, cache, position_ids, inputs_embeds, output_hidden_states
            )
            logits = self.head(out.last_hidden_state[:, -logits_to_keep:])  # -0: is all of them
        return CausalLMOutput(out.last_hidden_state, out.hidden_states, logits=logits)

    def new_cache(self, batch_size: int, max_length: int) -> Cache:
        """The kind of cache the body needs."""
        return self.body.new_cache(batch_size, max_length)
