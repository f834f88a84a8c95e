"""RNN, LSTM and GRU as language models (순환 신경망 언어 모델).

    x = E[ids];   h = layers(x, state);   logits = h Wᵀ

The state is (layers, H) numbers a text, twice as many for an LSTM, whatever the text's length. Book 16.1 기존
아키텍처의 장단점. Papers: Mikolov et al. 2010 (RNN language model); Sundermeyer et al. 2012 (LSTM). Held against
torch.nn.RNN, LSTM and GRU between torch.nn.Embedding and torch.nn.Linear. transformers has none of them: a folder has
its layout, our names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from minillm._checks import check_choice, check_number
from minillm.models.base import Weight
from minillm.models.config import ModelConfig
from minillm.models.decoder import CausalLM
from minillm.models.stateful import Endless, StateBody
from minillm.nn.recurrent import GRULayers, LSTMLayers, RecurrentLayers, RNNLayers


@dataclass
class RecurrentConfig(Endless, ModelConfig):
    """Sizes of a recurrent language model, named as transformers names such things. dropout: between the layers."""

    vocab_size: int = 50257
    hidden_size: int = 512
    num_hidden_layers: int = 2
    dropout: float = 0.0
    hidden_act: str = "tanh"
    initializer_range: float = 0.1
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    tie_word_embeddings: bool = True
    model_type: str = ""

    def __post_init__(self) -> None:
        """Check every field; ValueError naming the one that is wrong."""
        self._check(
            ("vocab_size", "hidden_size", "num_hidden_layers"),
            ("bos_token_id", "eos_token_id", "pad_token_id"),
            ("initializer_range",),
            "hidden_act",
        )
        check_number("dropout", self.dropout, 0.0, 1.0)
        check_choice("model_type", self.model_type, self.model_types)
        check_choice(
            "hidden_act", self.hidden_act, ("tanh", "relu") if self.model_type == "rnn" else ("tanh",)
        )


@dataclass
class RNNConfig(RecurrentConfig):
    """hidden_act: "tanh" or "relu"."""

    model_types: ClassVar[tuple[str, ...]] = ("rnn",)
    model_type: str = "rnn"


@dataclass
class LSTMConfig(RecurrentConfig):
    """As RecurrentConfig."""

    model_types: ClassVar[tuple[str, ...]] = ("lstm",)
    model_type: str = "lstm"


@dataclass
class GRUConfig(RecurrentConfig):
    """As RecurrentConfig."""

    model_types: ClassVar[tuple[str, ...]] = ("gru",)
    model_type: str = "gru"


class RecurrentBody(StateBody):
    """A recurrent model without its output layer: ids -> hidden states."""

    layers_class: ClassVar[type[RecurrentLayers]]
    prefix = "model."
    weights = (
        Weight("tokens.weight", "embeddings.weight"),
        *(
            Weight(f"layers.{name}_l{{i}}", f"layers.{name}_l{{i}}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ),
    )

    def build(self, config: RecurrentConfig) -> None:
        """Make the layers."""
        C = config.hidden_size
        self.tokens = nn.Embedding(config.vocab_size, C)
        options = {"nonlinearity": config.hidden_act} if config.model_type == "rnn" else {}
        self.layers = self.layers_class(C, C, config.num_hidden_layers, dropout=config.dropout, **options)

    def state_shapes(self) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """h, and the c of an LSTM: (layers, H)."""
        return [
            ((self.config.num_hidden_layers, self.config.hidden_size), self.tokens.weight.dtype)
        ] * self.layers.kinds

    def run(
        self, x: Tensor, states: Sequence[Tensor] | None, hidden: list[Tensor] | None
    ) -> tuple[Tensor, list[Tensor]]:
        """As StateBody's. hidden takes what goes in and what comes out: the layers' own lie inside."""
        if states is None:
            states = [x.new_zeros(len(x), *shape) for shape, _ in self.state_shapes()]
        y, states = self.layers.run(x.transpose(0, 1), [one.transpose(0, 1) for one in states])
        y = y.transpose(0, 1)
        if hidden is not None:
            hidden += [x, y]
        return y, [one.transpose(0, 1) for one in states]


class RNNBody(RecurrentBody):
    """Elman's."""

    config_class, layers_class = RNNConfig, RNNLayers

    def architecture(self) -> str:
        """The class name in config.json."""
        return "RNNModel"


class LSTMBody(RecurrentBody):
    """With a cell and three gates."""

    config_class, layers_class = LSTMConfig, LSTMLayers

    def architecture(self) -> str:
        """The class name in config.json."""
        return "LSTMModel"


class GRUBody(RecurrentBody):
    """With two gates."""

    config_class, layers_class = GRUConfig, GRULayers

    def architecture(self) -> str:
        """The class name in config.json."""
        return "GRUModel"


class RNN(CausalLM):
    """A recurrent language model: `RNN(config, seed)`, `RNN.from_pretrained(folder)`, `model(ids).logits`."""

    config_class, body_class = RNNConfig, RNNBody

    def architecture(self) -> str:
        """The class name in config.json."""
        return "RNNForCausalLM"


class LSTM(CausalLM):
    """A language model with a memory cell: `LSTM(config, seed)`, `LSTM.from_pretrained(folder)`."""

    config_class, body_class = LSTMConfig, LSTMBody

    def architecture(self) -> str:
        """The class name in config.json."""
        return "LSTMForCausalLM"


class GRU(CausalLM):
    """A language model with gates and one state: `GRU(config, seed)`, `GRU.from_pretrained(folder)`."""

    config_class, body_class = GRUConfig, GRUBody

    def architecture(self) -> str:
        """The class name in config.json."""
        return "GRUForCausalLM"
