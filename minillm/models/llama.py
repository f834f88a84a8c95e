"""Llama and its family: RMSNorm, rotary positions, SwiGLU, shared key/value heads, no position table.

    x = E[ids];  x = x + attention(norm(x)), q and k turned;  x = x + SwiGLU(norm(x));  logits = norm(x) Wᵀ

One class, told apart by `model_type`: llama (1, 2, 3), mistral (sliding window), qwen2 (bias on q, k, v) and
qwen3 (RMS norm on every q and k head). Book 2.7 (트랜스포머를 활용한 아키텍처), 6장 sLLM. Papers: Touvron et
al. 2023; Jiang et al. 2023; Qwen2 and Qwen3 reports. Held against transformers' LlamaForCausalLM and its
three sisters. Leaves out: longrope, attention_dropout (always 0 in published configs).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from minillm._checks import check_choice, check_flag, check_int, check_number, describe
from minillm.models.base import Weight
from minillm.models.config import ModelConfig
from minillm.models.decoder import CausalLM, DecoderBody, Pass
from minillm.nn.attention import MultiHeadAttention
from minillm.nn.blocks import DecoderBlock, RMSNorm, SwiGLU
from minillm.nn.positions import RoPE
from minillm.nn.rope_scaling import check_scaling

FAMILIES = {
    "llama": "Llama",
    "mistral": "Mistral",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
}  # as transformers names them

# What transformers takes for a key that a config.json of the family leaves out, where it is not LlamaConfig's own
_QWEN = {
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
    "sliding_window": 4096,
}
UNSAID: dict[str, dict[str, Any]] = {
    "llama": {"bos_token_id": 1, "eos_token_id": 2},
    "mistral": {
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "qwen2": _QWEN,
    "qwen3": {**_QWEN, "head_dim": 128},
}


@dataclass
class LlamaConfig(ModelConfig):
    """transformers' LlamaConfig, MistralConfig, Qwen2Config and Qwen3Config in one: same names.

    Rotary settings come as rope_theta and rope_scaling (files up to 2025) or as one dict rope_parameters
    (since); all three agree afterwards. eos_token_id is None in a config made here unless given.
    """

    model_types: ClassVar[tuple[str, ...]] = tuple(FAMILIES)

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    tie_word_embeddings: bool = False
    rope_theta: float | None = None
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None
    attention_bias: bool = False
    mlp_bias: bool = False
    sliding_window: int | None = None
    use_sliding_window: bool | None = None
    max_window_layers: int | None = None
    layer_types: list[str] | None = None
    model_type: str = "llama"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LlamaConfig:
        """As ModelConfig.from_dict; a key that the file leaves out has transformers' value for the family."""
        if isinstance(values, Mapping):
            values = {**UNSAID.get(values.get("model_type", "llama"), {}), **values}
        return super().from_dict(values)

    def __post_init__(self) -> None:
        """Fill in what follows from the rest and check every field; ValueError naming the one that is wrong."""
        check_choice("model_type", self.model_type, self.model_types)
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        self._check(
            (
                "vocab_size",
                "hidden_size",
                "intermediate_size",
                "num_hidden_layers",
                "num_attention_heads",
                "num_key_value_heads",
                "max_position_embeddings",
            ),
            ("bos_token_id", "eos_token_id", "pad_token_id"),
            ("initializer_range", "rms_norm_eps"),
            "hidden_act",
        )
        if self.head_dim is None:
            if self.hidden_size % self.num_attention_heads:
                raise ValueError(
                    "hidden_size must be divisible by num_attention_heads unless head_dim is given, "
                    f"got {self.hidden_size} and {self.num_attention_heads}"
                )
            self.head_dim = self.hidden_size // self.num_attention_heads
        check_int("head_dim", self.head_dim, 2)
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                "num_attention_heads must be divisible by num_key_value_heads, "
                f"got {self.num_attention_heads} and {self.num_key_value_heads}"
            )
        check_flag("attention_bias", self.attention_bias), check_flag("mlp_bias", self.mlp_bias)
        self._check_windows()
        self._settle_rope()

    def _check_windows(self) -> None:
        """ValueError for settings of the sliding window that are of no use."""
        if self.sliding_window is not None:
            check_int("sliding_window", self.sliding_window, 1)
        if self.max_window_layers is not None:
            check_int("max_window_layers", self.max_window_layers, 0)
        if self.use_sliding_window is not None:
            check_flag("use_sliding_window", self.use_sliding_window)
        kinds, layers = self.layer_types, self.num_hidden_layers
        if kinds is not None and not (
            isinstance(kinds, (list, tuple))
            and len(kinds) == layers
            and all(kind in ("full_attention", "sliding_attention") for kind in kinds)
        ):
            raise ValueError(
                f"layer_types must be {layers} times full_attention or sliding_attention, got {describe(kinds)}"
            )

    def _settle_rope(self) -> None:
        """rope_theta, rope_scaling and rope_parameters, whichever came, made to agree."""
        if self.rope_parameters is not None and not isinstance(self.rope_parameters, Mapping):
            raise ValueError(f"rope_parameters must be a dict, got {describe(self.rope_parameters)}")
        # transformers: rope_scaling, which users add to a config, goes before rope_parameters, with its own theta
        scaling = (self.rope_parameters or {}) if self.rope_scaling in (None, {}) else self.rope_scaling
        theta = self.rope_theta
        if isinstance(scaling, Mapping):
            if scaling.get("rope_theta") is not None:
                theta = scaling["rope_theta"]
            kind, window = scaling.get("rope_type", scaling.get("type")), "original_max_position_embeddings"
            scaling = {name: value for name, value in scaling.items() if name not in ("type", "rope_theta")}
            scaling["rope_type"] = "default" if kind is None else kind
            # the trained window is that of the config, named beside the scaling or in it
            if kind == "dynamic":
                scaling[window] = self.max_position_embeddings
            elif kind in ("llama3", "yarn"):
                places = (self.extra.get(window), scaling.get(window), self.max_position_embeddings)
                scaling[window] = next(value for value in places if value is not None)
        scaling = check_scaling(scaling)
        self.rope_theta = check_number("rope_theta", 10000.0 if theta is None else theta, 1.0)
        self.rope_scaling = None if scaling["rope_type"] == "default" else scaling
        self.rope_parameters = {**scaling, "rope_theta": self.rope_theta}

    @property
    def num_layers(self) -> int:
        """Blocks."""
        return self.num_hidden_layers

    @property
    def kv_heads(self) -> int:
        """Key/value heads a block."""
        return self.num_key_value_heads

    @property
    def width(self) -> int:
        """Width of the model, C."""
        return self.hidden_size

    @property
    def max_length(self) -> int:
        """The context window in tokens; dynamic scaling stretches it by its factor."""
        scaling = self.rope_scaling or {}
        stretch = scaling["factor"] if scaling.get("rope_type") == "dynamic" else 1.0
        return int(self.max_position_embeddings * stretch)

    @property
    def windows(self) -> tuple[int | None, ...]:
        """For each block how many tokens back it looks, itself included; None for all."""
        layers, window = self.num_hidden_layers, self.sliding_window
        if window is None or self.model_type == "llama":
            return (None,) * layers
        if self.model_type != "mistral" and not self.use_sliding_window:
            return (None,) * layers
        if self.layer_types is not None:
            return tuple(window if kind == "sliding_attention" else None for kind in self.layer_types)
        if self.model_type == "mistral":
            return (window,) * layers
        first = 28 if self.max_window_layers is None else self.max_window_layers  # transformers' default
        return tuple(window if i >= first else None for i in range(layers))

    def to_dict(self) -> dict[str, Any]:
        """The content of config.json; fields of other families and unset ones are left out."""
        values = super().to_dict()
        if self.model_type not in ("llama", "qwen3"):
            del values["attention_bias"]
        if self.model_type != "llama":
            del values["mlp_bias"]
        if self.model_type == "llama":
            del values["sliding_window"]
        kept_if_none = {
            "bos_token_id",
            "eos_token_id",
            "pad_token_id",
            "sliding_window",
            "rope_scaling",
            *self.extra,
        }
        return {name: value for name, value in values.items() if value is not None or name in kept_if_none}


class LlamaBody(DecoderBody):
    """Llama without its output layer: ids -> hidden states. `LlamaBody(config, seed)` or `.from_pretrained(folder)`."""

    config_class = LlamaConfig
    prefix = "model."
    stored_buffers = ("rotary_emb.inv_freq",)  # rotary frequencies, in older files
    weights = (
        Weight("tokens.weight", "embed_tokens.weight"),
        Weight("blocks.{i}.norm1.weight", "layers.{i}.input_layernorm.weight"),
        *(
            Weight(f"blocks.{{i}}.attention.{part}", f"layers.{{i}}.self_attn.{part}")
            for part in (
                *(f"{p}_proj.{kind}" for p in "qkvo" for kind in ("weight", "bias")),
                "q_norm.weight",
                "k_norm.weight",
            )
        ),
        Weight("blocks.{i}.norm2.weight", "layers.{i}.post_attention_layernorm.weight"),
        *(
            Weight(f"blocks.{{i}}.feed_forward.{part}_proj.{kind}", f"layers.{{i}}.mlp.{part}_proj.{kind}")
            for part in ("gate", "up", "down")
            for kind in ("weight", "bias")
        ),
        Weight("norm.weight", "norm.weight"),
    )

    def build(self, config: LlamaConfig) -> None:
        """Make the layers, named as the house names them."""
        C, H = config.hidden_size, config.num_attention_heads
        qkv_bias = True if config.model_type == "qwen2" else config.attention_bias
        out_bias = False if config.model_type == "qwen2" else config.attention_bias
        norm = partial(RMSNorm, eps=config.rms_norm_eps)
        self.tokens = nn.Embedding(config.vocab_size, C)
        self.rope = RoPE(
            config.head_dim, config.rope_theta, scaling=config.rope_scaling
        )  # one for all blocks
        self.blocks = nn.ModuleList(
            DecoderBlock(
                C,
                H,
                norm=norm,
                attention=MultiHeadAttention(
                    C,
                    H,
                    config.kv_heads,
                    position=self.rope,
                    bias=qkv_bias,
                    out_bias=out_bias,
                    qk_norm=config.model_type == "qwen3",
                    causal=True,
                    head_dim=config.head_dim,
                    eps=config.rms_norm_eps,
                    layer=i,
                ),
                feed_forward=SwiGLU(C, config.intermediate_size, config.hidden_act, bias=config.mlp_bias),
            )
            for i in range(config.num_hidden_layers)
        )
        self.norm = norm(C)
        self.windows = config.windows

    def run(self, step: Pass) -> Tensor:
        """The tokens of a pass -> hidden states (B, T, C) after the last norm; the head makes logits of them."""
        x = step.keep(step.embed(self.tokens))  # (B, T, C)
        place = self.rope.at(step.positions, x, step.keys)  # cos and sin, once for all blocks
        for block, window in zip(self.blocks, self.windows):
            x = step.keep(block(x, mask=step.masks[window], cache=step.cache, positions=place))
        return self.norm(x)

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return f"{FAMILIES[self.config.model_type]}Model"


class Llama(CausalLM):
    """Llama with its output layer. `Llama(config, seed)` or `Llama.from_pretrained(folder)`."""

    config_class = LlamaConfig
    body_class = LlamaBody

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return f"{FAMILIES[self.config.model_type]}ForCausalLM"
