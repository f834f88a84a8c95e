"""One pass of a model over new tokens of many texts: `runner.run(parts)` -> the scores that were asked for.

    part     text A: 1 token, text B: 1 token and 4 drafts, text C: 200 tokens of its prompt
    pages    all tokens side by side in one pass (paged_cache.py); one text alone, in the compiled step (alone.py)
    slots    a model whose state has a fixed size: texts with the same number of tokens together (slots.py)

What the past of a text is, and where it lies, is the runner's affair; the scheduler only knows blocks. Book 8.3.2
페이지어텐션. The name is nano-vllm's. Held against each text's own pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from minillm.inference.engine.alone import Alone
from minillm.inference.engine.paged_cache import SHORT, Chunk, PagedKVCache
from minillm.inference.loop import Evaluating
from minillm.models.decoder import CausalLM
from minillm.nn.lora import adapter_rows


class Part(NamedTuple):
    """New tokens of one text in a pass: `ids`, whose places `chunk` says; scores are wanted after the last `scored`.

    adapter: of a model that has some, the one that they go through (nn/lora.py).
    """

    chunk: Chunk
    ids: list[int]
    scored: int = 0
    adapter: str | None = None


class Runner(Protocol):
    """A model with the memory of its texts' pasts."""

    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Blocks (from, to), one after another, before the pass: what copy-on-write asks for."""

    def run(self, parts: Sequence[Part]) -> list[Tensor]:
        """Scores (scored, V) for each part; the tokens are in the memory afterwards."""


class PagedRunner:
    """A decoder-only model and its pages."""

    def __init__(self, model: CausalLM, num_blocks: int, block_size: int) -> None:
        windows = model.body.windows
        self.model = model
        self.cache = PagedKVCache(model.config, num_blocks, block_size, model.dtype, model.device, windows)
        self.alone = Alone(model, self.cache)

    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        """As Runner's."""
        if pairs:
            with torch.inference_mode():
                self.alone.write_back()
                self.cache.copy(pairs)

    def run(self, parts: Sequence[Part]) -> list[Tensor]:
        """As Runner's."""
        with torch.inference_mode(), Evaluating(self.model):
            if len(parts) == 1 and parts[0].chunk.count == 1:
                logits = self.alone(parts[0].chunk, parts[0].ids[0])
                if logits is not None:
                    return [logits[: parts[0].scored]]
            self.alone.give_way([part.chunk for part in parts])
            return self._side_by_side(parts)

    def _side_by_side(self, parts: Sequence[Part]) -> list[Tensor]:
        order = sorted(range(len(parts)), key=lambda i: parts[i].chunk.count > SHORT)
        ids: list[int] = []
        wanted: list[int] = []
        for part in (parts[i] for i in order):
            ids += part.ids
            wanted += range(len(ids) - part.scored, len(ids))
        positions = self.cache.begin([parts[i].chunk for i in order])
        input_ids = torch.tensor(ids, device=self.model.device)[:, None]  # (N, 1)
        adapters = [parts[i].adapter for i in order for _ in parts[i].ids]
        with adapter_rows(self.model, adapters):
            hidden = self.model.body(input_ids, cache=self.cache, position_ids=positions).last_hidden_state[
                :, 0
            ]
        if len(wanted) < len(ids):
            hidden = hidden[torch.tensor(wanted, dtype=torch.int64, device=hidden.device)]
        with adapter_rows(self.model, [adapters[row] for row in wanted]):
            logits = self.model.head(hidden) if wanted else hidden  # (wanted, V)
        pieces = logits.split([parts[i].scored for i in order])
        return [piece for _, piece in sorted(zip(order, pieces), key=lambda pair: pair[0])]
