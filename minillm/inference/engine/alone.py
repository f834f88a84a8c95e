"""One text at work and nobody else: its tokens go through the compiled step of `generate`.

    pages    |  b7  |  b2  |  b5  |          the text's past lies in blocks, (block_size, K, D) each
    copy     |    one piece     |            the same in (K, S, D), which the compiled step reads and writes

The step (inference/fused.py) reads keys from one piece of memory. So the text's blocks are copied into one when it
begins to be alone; what it writes from then on goes back into the blocks as soon as anybody else may read them. Each
token is copied twice then, against a pass that takes several times as long layer by layer. Book 7.1 언어 모델 추론
이해하기, 8.3.2 페이지어텐션. Held against the paged pass. Leaves out: GPUs, and all models that FusedStep leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from minillm.inference.engine.paged_cache import Chunk, PagedKVCache
from minillm.inference.fused import FusedStep
from minillm.models.decoder import CausalLM
from minillm.nn.cache import KVCache


class Alone:
    """A model's compiled step over one text of its pages. `alone(chunk, token)` -> logits (1, V), or None.

    The text is known by its list of blocks itself, `chunk.blocks`: a text that had to give its blocks up comes back
    with another list. Whether the model can be compiled is asked when a text begins to be alone, as in `generate`.
    """

    ROOM = 64  # tokens that are made room for at first, and again and again twice as many

    def __init__(self, model: CausalLM, pages: PagedKVCache) -> None:
        self.model, self.pages = model, pages
        self.piece: KVCache | None = None
        self.step: FusedStep | None = None
        self.text: list[int] | None = None  # its list of blocks
        self.blocks: list[int] = []  # what stood in it in the newest step
        self.paged = 0  # so many tokens of the piece are in the pages, too

    def __call__(self, chunk: Chunk, token: int) -> Tensor | None:
        """Scores (1, V) after `token`, the only one of the pass; None where the model has no compiled step."""
        if chunk.blocks is not self.text:
            self._begin(chunk)
        if self.step is None:
            return None
        self._go_back(chunk.start)
        if chunk.start >= self.piece.max_length:
            self._make_room(chunk.start)
        self.blocks = list(chunk.blocks)
        self._read(chunk.start)
        return self.step(token)

    def give_way(self, chunks: Sequence[Chunk]) -> None:
        """A pass over these texts side by side comes next."""
        self.write_back()
        for chunk in chunks:
            if chunk.blocks is self.text:
                self._go_back(chunk.start)

    def write_back(self) -> None:
        """The pages hold all that the piece holds."""
        if self.piece is None or self.paged == self.piece.length:
            return
        places, new = self._places(self.paged, self.piece.length), slice(self.paged, self.piece.length)
        for piece, pages in self._layers():
            pages.index_copy_(0, places, piece[0, :, new].transpose(0, 1))  # (K, n, D) -> (n, K, D)
        self.paged = self.piece.length

    def _begin(self, chunk: Chunk) -> None:
        self.write_back()
        self.text = chunk.blocks
        if self.piece is None or self.piece.max_length <= chunk.start:
            self._make_room(chunk.start)
        else:
            self._go_back(0)
            self.step = FusedStep.of(self.model, self.piece)
        if self.step is None:
            self.piece = None

    def _make_room(self, start: int) -> None:
        """A piece of memory with room for more than `start` tokens; they are read from the pages again."""
        self.write_back()
        room = self.ROOM
        while room <= start:
            room *= 2
        self.piece, self.paged = KVCache(self.model.config, 1, room, self.model.dtype, self.model.device), 0
        self.step = FusedStep.of(self.model, self.piece)

    def _go_back(self, start: int) -> None:
        """What the piece holds from `start` on is another's draft, or is about to be written anew."""
        if self.piece is not None and self.piece.length > start:
            self.piece.crop(start)
            self.paged = min(self.paged, start)

    def _read(self, start: int) -> None:
        """Copy what the pages hold and the piece does not, up to `start`."""
        if (have := self.piece.length) == start:
            return
        places = self._places(have, start)
        for piece, pages in self._layers():
            piece[0, :, have:start] = pages.index_select(0, places).transpose(0, 1)
        self.piece.commit(start - have)
        self.paged = start

    def _places(self, start: int, stop: int) -> Tensor:
        size = self.pages.block_size
        return torch.tensor([self.blocks[n // size] * size + n % size for n in range(start, stop)])

    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        """(piece (1, K, S, D), pages (places, K, D)) of the keys and of the values of every layer."""
        sides = ((self.piece.keys, self.pages.keys), (self.piece.values, self.pages.values))
        return [(one, all_.flatten(0, 1)) for piece, pages in sides for one, all_ in zip(piece, pages)]
