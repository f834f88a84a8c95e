"""CLIP's eyes: a picture in patches, a class token before them, and a pre-norm encoder over all of it.

    x = [class; patches of the picture] + positions;   x = norm(x);   x = block(x) for every block
    pooled = norm(x of the class token)

The norm before the first block and the activation x · σ(1.702 x) are CLIP's own; the states themselves have no last
norm: LLaVA shows those of the last block but one. Book 14.2 CLIP, 14.4 LLaVA. Paper: Radford et al. 2021.
Held against transformers' CLIPVisionModel. Leaves out: pictures of another size than image_size.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from minillm._checks import check_choice, check_int, check_number, describe
from minillm._kernels import autocast_dtype
from minillm.models.base import PretrainedModel, Weight
from minillm.models.config import ModelConfig
from minillm.models.outputs import PooledOutput
from minillm.models.patches import ConvolutionalStem, PatchedConfig
from minillm.nn.attention import MultiHeadAttention
from minillm.nn.blocks import ACTIVATIONS, EncoderBlock, LayerNorm


@dataclass
class CLIPVisionConfig(PatchedConfig, ModelConfig):
    """transformers' CLIPVisionConfig: same names, same sizes. stem_widths is ours.

    stem_widths: widths of convolutions of stride 2 that shrink the picture in place of the one patch convolution; the
    course's own small CLIP has some. Their strides make up patch_size. A folder with them opens here alone.
    """

    model_types: ClassVar[tuple[str, ...]] = ("clip_vision_model",)

    hidden_size: int = 768
    intermediate_size: int = 3072
    projection_dim: int = 512
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 32
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    attention_dropout: float = 0.0
    initializer_range: float = 0.02
    initializer_factor: float = 1.0
    stem_widths: list[int] | None = None
    model_type: str = "clip_vision_model"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CLIPVisionConfig:
        """As ModelConfig.from_dict; of the config of both towers the vision_config, as in transformers."""
        if isinstance(values, Mapping) and values.get("model_type") == "clip":
            values = values.get("vision_config") or {}
        return super().from_dict(values)

    def __post_init__(self) -> None:
        """Check every field; ValueError naming the one that is wrong."""
        for name in ("hidden_size", "intermediate_size", "projection_dim", "num_hidden_layers"):
            check_int(name, getattr(self, name), 1)
        for name in ("num_attention_heads", "num_channels", "image_size", "patch_size"):
            check_int(name, getattr(self, name), 1)
        for name in ("layer_norm_eps", "initializer_range", "initializer_factor"):
            check_number(name, getattr(self, name), 0.0)
        check_choice("hidden_act", self.hidden_act, tuple(ACTIVATIONS))
        if self.attention_dropout != 0:
            raise ValueError(f"attention_dropout must be 0, got {describe(self.attention_dropout)}")
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size must be a multiple of patch_size, got {self.image_size} and {self.patch_size}"
            )
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                "hidden_size must be divisible by num_attention_heads, "
                f"got {self.hidden_size} and {self.num_attention_heads}"
            )
        self._check_stem()
        self._settle_labels()

    @property
    def patches(self) -> int:
        """Patches of a picture, N."""
        return (self.image_size // self.patch_size) ** 2

    def to_dict(self) -> dict[str, Any]:
        """The content of config.json; stem_widths only where there are some."""
        values = super().to_dict()
        if self.stem_widths is None:
            del values["stem_widths"]
        return values


TOWER_PARTS = tuple(  # of a block, in both towers: ours, theirs
    Weight(f"blocks.{{i}}.{ours}.{kind}", f"encoder.layers.{{i}}.{theirs}.{kind}")
    for ours, theirs in (
        ("norm1", "layer_norm1"),
        *((f"attention.{p}_proj", f"self_attn.{p}_proj") for p in "qkv"),
        ("attention.o_proj", "self_attn.out_proj"),
        ("norm2", "layer_norm2"),
        ("feed_forward.up_proj", "mlp.fc1"),
        ("feed_forward.down_proj", "mlp.fc2"),
    )
    for kind in ("weight", "bias")
)


class CLIPVision(PretrainedModel):
    """CLIP's vision tower. `CLIPVision(config, seed)` or `CLIPVision.from_pretrained(folder)`."""

    config_class = CLIPVisionConfig
    prefix = "vision_model."
    stored_buffers = ("position_ids",)
    generates = False
    weights = (
        Weight("class_token", "embeddings.class_embedding"),
        Weight("patches.weight", "embeddings.patch_embedding.weight"),
        *(
            Weight(f"stem.layers.{{i}}.{kind}", f"embeddings.stem.{{i}}.{kind}")
            for kind in ("weight", "bias")
        ),
        Weight("positions.weight", "embeddings.position_embedding.weight"),
        *(Weight(f"pre_norm.{kind}", f"pre_layrnorm.{kind}") for kind in ("weight", "bias")),
        *TOWER_PARTS,
        *(Weight(f"norm.{kind}", f"post_layernorm.{kind}") for kind in ("weight", "bias")),
    )

    def build(self, config: CLIPVisionConfig) -> None:
        """Make the layers, named as the house names them."""
        D, H = config.hidden_size, config.num_attention_heads
        norm = partial(LayerNorm, eps=config.layer_norm_eps)
        self.class_token = nn.Parameter(torch.empty(D))
        if config.stem_widths is None:
            self.patches = nn.Conv2d(config.num_channels, D, config.patch_size, config.patch_size, bias=False)
        else:
            self.stem = ConvolutionalStem(config.num_channels, config.stem_widths)
        self.positions = nn.Embedding(1 + config.patches, D)
        self.pre_norm, self.norm = norm(D), norm(D)
        self.blocks = nn.ModuleList(
            EncoderBlock(
                D,
                H,
                config.intermediate_size,
                activation=config.hidden_act,
                norm=norm,
                attention=MultiHeadAttention(D, H, bias=True, layer=i),
            )
            for i in range(config.num_hidden_layers)
        )

    def embed(self, pixel_values: Tensor) -> Tensor:
        """Pictures (P, 3, S, S) -> the class token and the patches, each with its position: (P, 1 + N, D)."""
        if self.config.stem_widths is None:
            x = self.patches(pixel_values).flatten(2).mT  # (P, N, D)
        else:
            x = self.stem(pixel_values)
        return torch.cat([self.class_token.expand(len(x), 1, -1), x], dim=1) + self.positions.weight

    def forward(self, pixel_values: Tensor, output_hidden_states: bool = False) -> PooledOutput:
        """States (P, 1 + N, D) and pooler_output (P, D) of pictures (P, 3, S, S), normalised as CLIP's are.

        hidden_states: what enters the first block, and what leaves each. ValueError for pictures of another shape,
        size or dtype.
        """
        self._check(pixel_values)
        x = self.pre_norm(self.embed(pixel_values))  # (P, 1 + N, D)
        states = [x]
        for block in self.blocks:
            x = block(x)
            states.append(x)
        return PooledOutput(x, tuple(states) if output_hidden_states else None, self.norm(x[:, 0]))

    def _check(self, pixels: Tensor) -> None:
        """ValueError for what are no pictures of this tower's size."""
        config = self.config
        wanted = (config.num_channels, config.image_size, config.image_size)
        if (
            not isinstance(pixels, Tensor)
            or not pixels.is_floating_point()
            or pixels.dim() != 4
            or pixels.shape[1:] != wanted
            or not len(pixels)
        ):
            raise ValueError(f"pixel_values must be a float tensor (P, {wanted[0]}, {wanted[1]}, {wanted[2]}), "
                             f"got {describe(pixels)}")  # fmt: skip
        if pixels.dtype != self.dtype and autocast_dtype(pixels) is None:
            raise ValueError(f"pixel_values must have the model's dtype {self.dtype}, got {describe(pixels)}")

    @torch.no_grad()
    def initialise(self, generator: torch.Generator, only: Collection[str] | None = None) -> None:
        """First weights: the house's; the class token's N(0, 1 / √D); a stem's as wide as what they read."""
        super().initialise(generator, only)
        self.class_token.normal_(0.0, self.config.hidden_size**-0.5, generator=generator)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                std = self.config.initializer_range
                if layer.bias is not None:  # a stem: each layer keeps the size of what it reads
                    std = (2 / layer.weight[0].numel()) ** 0.5
                    layer.bias.zero_()
                layer.weight.normal_(0.0, std, generator=generator)

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return "CLIPVisionModel"
