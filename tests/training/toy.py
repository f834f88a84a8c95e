"""A tiny recurrent language model with the call form of minillm.models, and a text with a simple law."""

from types import SimpleNamespace

import torch
from torch import nn


class ToyLM(nn.Module):
    """input_ids (B, T) -> .logits (B, T, vocabulary); dropout, so that a resumed run must redraw it exactly."""

    def __init__(self, vocabulary=11, width=12, dropout=0.1, seed=0):
        super().__init__()
        self.config = SimpleNamespace(vocab_size=vocabulary, max_length=32)
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.embed = nn.Embedding(vocabulary, width)
            self.dropout = nn.Dropout(dropout)
            self.cell = nn.GRU(width, width, batch_first=True)
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary)

    def forward(self, input_ids, attention_mask=None):
        hidden, _ = self.cell(self.dropout(self.embed(input_ids)))
        return SimpleNamespace(logits=self.head(self.norm(hidden)))


COUNTING = torch.arange(600) % 11  # 0 1 2 ... 10 0 1 ...: the next id is known from the last one
