"""The decoder-only language model: token ids in, a score for every possible next token out.

    x = embed(ids);   x = block(x) for every block;   logits = norm(x) Eᵀ

Book 2.6 디코더, 2.7 BERT, GPT, T5 등 트랜스포머를 활용한 아키텍처. GPT2 and Llama are this frame with other
parts. Held against transformers' GPT2LMHeadModel and LlamaForCausalLM.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minillm._checks import check_int, describe
from minillm.models.base import PretrainedModel
from minillm.nn.multi_head import Cache, padding_mask


@dataclass
class CausalLMOutput:
    """logits (B, T, V): scores of the next token after each token. hidden_states: (B, T, C) after each block."""

    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None


class DecoderLM(PretrainedModel):
    """What GPT2 and Llama share. A subclass's `build` makes tokens, blocks, norm and head, and windows."""

    tokens: nn.Embedding
    blocks: nn.ModuleList
    norm: nn.Module
    head: nn.Linear
    windows: tuple[int | None, ...]  # tokens each block looks back over, itself included; None: all

    def embed(self, input_ids: Tensor, positions: int | Tensor) -> Tensor:
        """(B, T) -> (B, T, C)."""
        return self.tokens(input_ids)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        position_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        logits_to_keep: int = 0,
    ) -> CausalLMOutput:
        """Logits (B, T, V) of input_ids (B, T) int64.

        attention_mask: (B, T) of 1 = token, 0 = padding; with a cache also (B, past + T). A cache remembers
        the padding it has seen. cache: holds keys and values of the tokens before; input_ids are the new ones
        only. position_ids: (B, T) int64; by default counted on from the cache whatever the mask says, as in
        transformers (left-padded rows of a GPT-2 need them; `minillm.inference.generate_batch` passes them).
        logits_to_keep: last positions to give logits for, 0 for all.
        Raises ValueError for wrong shapes or dtypes, ids outside the vocabulary, and texts past
        config.max_length.
        """
        if cache is not None and not hasattr(cache, "remember_mask"):
            raise ValueError(f"cache must be a KVCache or None, got {describe(cache)}")
        past = 0 if cache is None else cache.length
        T = self._check(input_ids, past, position_ids, logits_to_keep)
        positions = past if position_ids is None else position_ids
        if cache is not None:
            attention_mask = cache.remember_mask(attention_mask, input_ids)
        masks = self._masks(T, past + T, attention_mask, input_ids)
        try:
            x = self.embed(input_ids, positions)  # (B, T, C)
        except IndexError:
            low, high = (int(n) for n in input_ids.aminmax())
            raise ValueError(f"ids must lie in 0..{self.config.vocab_size - 1}, got {low}..{high}") from None
        states = [x] if output_hidden_states else None
        for block, window in zip(self.blocks, self.windows):
            x = block(x, mask=masks[window], cache=cache, positions=positions)
            if states is not None:
                states.append(x)
        if logits_to_keep:
            x = x[:, -logits_to_keep:]
        return CausalLMOutput(self.head(self.norm(x)), None if states is None else tuple(states))

    def _check(self, ids: Tensor, past: int, position_ids: Tensor | None, keep: int) -> int:
        if not isinstance(ids, Tensor) or ids.dim() != 2 or ids.dtype not in (torch.int64, torch.int32):
            raise ValueError(f"input_ids must be a LongTensor (B, T), got {describe(ids)}")
        if not ids.numel():
            raise ValueError(f"input_ids must hold at least one token, got shape {tuple(ids.shape)}")
        T, longest = ids.shape[1], self.config.max_length
        if past + T > longest:
            raise ValueError(f"{past + T} tokens do not fit into the context window of {longest}")
        if position_ids is not None:
            if (
                not isinstance(position_ids, Tensor)
                or position_ids.dtype != torch.int64
                or position_ids.shape not in ((T,), (1, T), ids.shape)
            ):
                raise ValueError(
                    f"position_ids must be a LongTensor {tuple(ids.shape)}, got {describe(position_ids)}"
                )
            low, high = (int(n) for n in position_ids.aminmax())
            if low < 0 or high >= longest:
                raise ValueError(f"position_ids must lie in 0..{longest - 1}, got {low}..{high}")
        check_int("logits_to_keep", keep, 0, T)
        return T

    def _masks(
        self, T: int, S: int, attention_mask: Tensor | None, ids: Tensor
    ) -> dict[int | None, Tensor | None]:
        """The mask of each window width in use; None where the blocks' own causal mask says it all."""
        padding = None
        if attention_mask is not None:
            padding = padding_mask(attention_mask)  # (B, 1, 1, S)
            if padding.shape != (ids.shape[0], 1, 1, S):
                raise ValueError(
                    f"attention_mask must have shape {(ids.shape[0], S)}, got {tuple(attention_mask.shape)}"
                )
            if bool(padding.all()):
                padding = None  # nothing is hidden: keep the fast path
        masks: dict[int | None, Tensor | None] = {}
        for window in set(self.windows):
            masks[window] = padding
            if window is not None and window < S:
                # query t stands at S - T + t and sees the keys s > S - T + t - window (and, being causal, s
                # up to itself)
                recent = torch.ones(T, S, dtype=torch.bool, device=ids.device).triu(S - T - window + 1)
                masks[window] = recent if padding is None else recent & padding
        return masks

    def tie(self) -> None:
        """The output matrix is the embedding table when the config says so: one tensor, one gradient."""
        if self.config.tie_word_embeddings:
            self.head.weight = self.tokens.weight
