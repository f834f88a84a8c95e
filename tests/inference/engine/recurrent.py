"""A small recurrent language model, whose memory of a text is a state of fixed size: for the engine's slots."""

import torch
from torch import nn

from minillm.models import LlamaConfig
from minillm.models.base import PretrainedModel
from minillm.models.decoder import CausalLM
from minillm.models.outputs import BodyOutput
from minillm.nn.state_cache import StateCache
from tests.inference.test_generation_loop import SIZES
from tests.inference.test_inference import spread


class RecurrentBody(PretrainedModel):
    """Two GRU cells, one above the other; a text begins with the states `first`, which are no zeros."""

    config_class, weights, generates = LlamaConfig, (), False

    def build(self, config):
        self.tokens = nn.Embedding(config.vocab_size, config.width)
        self.cells = nn.ModuleList(nn.GRUCell(config.width, config.width) for _ in range(2))
        self.first = nn.Parameter(torch.linspace(-1, 1, 2 * config.width).view(2, config.width))

    def new_cache(self, batch_size, max_length):
        return StateCache([one.expand(batch_size, -1) for one in self.first])

    def forward(self, input_ids, attention_mask=None, cache=None, *rest):
        B, T = input_ids.shape
        cache = self.new_cache(B, T) if cache is None else cache
        cache.extend(attention_mask, B, T)
        states, out = list(cache.states), []
        for t in range(T):
            x = self.tokens(input_ids[:, t])
            for i, cell in enumerate(self.cells):
                x = states[i] = cell(x, states[i])
            out.append(x)
        cache.commit(states, T)
        return BodyOutput(torch.stack(out, dim=1))


class Recurrent(CausalLM):
    """With a head."""

    config_class, body_class = LlamaConfig, RecurrentBody


def recurrent():
    """One whose scores are no near ties."""
    return spread(Recurrent(LlamaConfig(**SIZES, num_attention_heads=4, max_position_embeddings=40)))
