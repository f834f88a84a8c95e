"""A tiny recurrent language model with the call form of minillm.models, and a text with a simple law."""

from types import SimpleNamespace

import torch
from torch import nn


class ToyBody(nn.Module):
    """input_ids (B, T) -> .last_hidden_state (B, T, width); counts how often it was run."""

    def __init__(self, vocabulary, width, dropout, layers):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.dropout = nn.Dropout(dropout)
        self.cell = nn.GRU(width, width, layers, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.runs = 0

    def forward(self, input_ids, attention_mask=None):
        self.runs += 1
        hidden, _ = self.cell(self.dropout(self.embed(input_ids)))
        return SimpleNamespace(last_hidden_state=self.norm(hidden))


class ToyLM(nn.Module):
    """input_ids (B, T) -> .logits (B, T, vocabulary); dropout, so that a resumed run must redraw it exactly."""

    def __init__(self, vocabulary=11, width=12, dropout=0.1, seed=0, layers=1):
        super().__init__()
        self.config = SimpleNamespace(vocab_size=vocabulary, max_length=32)
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.body = ToyBody(vocabulary, width, dropout, layers)
            self.head = nn.Linear(width, vocabulary)

    def forward(self, input_ids, attention_mask=None):
        return SimpleNamespace(logits=self.head(self.body(input_ids).last_hidden_state))


COUNTING = torch.arange(600) % 11  # 0 1 2 ... 10 0 1 ...: the next id is known from the last one
