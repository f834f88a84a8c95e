"""A language model of ours as stages of a pipeline: embedding and first blocks, blocks, last blocks and head.

Book: 5.3 분산 학습과 ZeRO. Leaves out: tied embeddings (the first and the last stage would share a gradient), padding
masks, windows of attention.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor, nn

from minillm._checks import check_int, describe
from minillm.models.decoder import CausalLM
from minillm.models.gpt2 import GPT2Body
from minillm.models.inputs import look_up
from minillm.models.llama import LlamaBody


class Stage(nn.Module):
    """Some blocks of a model; the first stage also reads ids, the last one also makes logits. It shares the weights."""

    def __init__(self, model: CausalLM, blocks: list[nn.Module], first: bool, last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.tokens = model.body.tokens if first else None
        self.positions = model.body.positions if first and isinstance(model.body, GPT2Body) else None
        self.dropout = model.body.dropout if self.positions is not None else nn.Identity()
        self.norm, self.head = (model.body.norm, model.head) if last else (nn.Identity(), nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """ids (B, T) or hidden states (B, T, C) -> hidden states, or logits (B, T, V)."""
        if self.tokens is not None:
            x = look_up(self.tokens, x)  # (B, T, C)
        if self.positions is not None:
            x = self.dropout(x + self.positions.weight[: x.shape[1]])
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def stages_of(model: Any, count: int) -> list[Stage]:
    """A GPT2 or Llama as `count` stages of about as many blocks each. ValueError for a model that cannot be cut so."""
    check_int("count", count, 1)
    if not isinstance(model, CausalLM) or not isinstance(model.body, (GPT2Body, LlamaBody)):
        raise ValueError(f"the model must be a GPT2 or a Llama, got {describe(type(model).__name__)}")
    blocks = list(model.body.blocks)
    if len(blocks) < count:
        raise ValueError(f"{count} stages need at least as many blocks, the model has {len(blocks)}")
    if count > 1 and model.head.weight is model.body.tokens.weight:
        raise ValueError(
            "tie_word_embeddings: the first and the last stage would share a weight; untie the model"
        )
    if any(window is not None for window in model.body.windows):
        raise ValueError("a model with windows of attention cannot be cut into stages")
    ends = np.linspace(0, len(blocks), count + 1).round().astype(int).tolist()
    return [
        Stage(model, blocks[start:end], first=start == 0, last=end == len(blocks))
        for start, end in pairwise(ends)
    ]
