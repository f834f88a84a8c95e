"""ViT: a transformer encoder that reads a picture as a text of patches.

    x = [class; patches] + positions;   x = block(x) for every block (norm first);   states = norm(x)
    logits = W · state of the class token     or, without one, of the mean of all patches

Book 14.1.1 멀티 모달 LLM의 구성요소. Paper: Dosovitskiy et al. 2021. Held against transformers' ViTModel and
ViTForImageClassification. Ours besides: stem_widths (small convolutions), pooling "mean" (no class token), positions
"sincos"; a folder with one of them opens here alone. Left out: masked patches, pictures that are not square.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from minillm._checks import check_choice, check_flag, check_int, check_number, describe
from minillm._kernels import autocast_dtype
from minillm.models.base import Weight
from minillm.models.config import ModelConfig
from minillm.models.encoder import OptionalPooler
from minillm.models.heads import TaskModel
from minillm.models.outputs import LogitsOutput, PooledOutput
from minillm.models.patches import (
    ConvolutionalStem,
    PatchedConfig,
    PatchEmbedding,
    interpolate_positions,
    sincos_positions,
)
from minillm.nn.attention import MultiHeadAttention
from minillm.nn.blocks import ACTIVATIONS, EncoderBlock, FeedForward, LayerNorm

OURS = {
    "stem_widths": None,
    "pooling": "class",
    "positions": "learned",
}  # fields of ours, as transformers has it


@dataclass
class ViTConfig(PatchedConfig, ModelConfig):
    """transformers' ViTConfig: same names, same sizes; and three of ours.

    stem_widths: widths of convolutions of stride 2 in place of patches. pooling: "class" or "mean". positions:
    "learned" or "sincos".
    """

    model_types: ClassVar[tuple[str, ...]] = ("vit",)

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    image_size: int = 224
    patch_size: int = 16
    num_channels: int = 3
    qkv_bias: bool = True
    encoder_stride: int = 16
    pooler_output_size: int | None = None
    pooler_act: str = "tanh"
    stem_widths: list[int] | None = None
    pooling: str = "class"
    positions: str = "learned"
    eos_token_id: int | list[int] | None = None
    tie_word_embeddings: bool = True
    model_type: str = "vit"

    def __post_init__(self) -> None:
        """Check every field; ValueError naming the one that is wrong."""
        sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        sizes = (*sizes, "image_size", "patch_size", "num_channels", "encoder_stride")
        self._check(sizes, (), ("initializer_range", "layer_norm_eps"), "hidden_act")
        check_choice("pooler_act", self.pooler_act, tuple(ACTIVATIONS)), check_flag("qkv_bias", self.qkv_bias)
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            check_number(name, getattr(self, name), 0.0, 1.0)
        if self.pooler_output_size is None:
            self.pooler_output_size = self.hidden_size
        check_int("pooler_output_size", self.pooler_output_size, 1)
        check_choice("pooling", self.pooling, ("class", "mean"))
        check_choice("positions", self.positions, ("learned", "sincos"))
        for larger, smaller in (("hidden_size", "num_attention_heads"), ("image_size", "patch_size")):
            if getattr(self, larger) % getattr(self, smaller):
                numbers = f"{getattr(self, larger)} and {getattr(self, smaller)}"
                raise ValueError(f"{larger} must be divisible by {smaller}, got {numbers}")
        if self.positions == "sincos" and self.hidden_size % 4:
            raise ValueError(f"hidden_size must be divisible by 4 for sincos, got {self.hidden_size}")
        self._check_stem()

    def to_dict(self) -> dict[str, Any]:
        """The content of config.json; our own three fields only where they say something."""
        values = super().to_dict()
        return {k: v for k, v in values.items() if k not in OURS or v != OURS[k]}


_PARTS = {  # of a block: ours, theirs
    "norm1": "layernorm_before",
    **{f"attention.{part[0]}_proj": f"attention.attention.{part}" for part in ("query", "key", "value")},
    "attention.o_proj": "attention.output.dense",
    "norm2": "layernorm_after",
    "feed_forward.up_proj": "intermediate.dense",
    "feed_forward.down_proj": "output.dense",
}


class ViT(OptionalPooler):
    """ViT without a task: pictures -> states. `ViT(config, seed)` or `ViT.from_pretrained(folder)`.

    pooler: a layer on the class token, or None (under a classifier, and where a folder has none).
    """

    config_class, prefix, generates = ViTConfig, "vit.", False
    weights = (
        Weight("class_token", "embeddings.cls_token"),
        Weight("places", "embeddings.position_embeddings"),
        *(
            row
            for kind in ("weight", "bias")
            for row in (
                Weight(f"patches.projection.{kind}", f"embeddings.patch_embeddings.projection.{kind}"),
                Weight(f"patches.layers.{{i}}.{kind}", f"embeddings.stem.{{i}}.{kind}"),
                *(
                    Weight(f"blocks.{{i}}.{ours}.{kind}", f"encoder.layer.{{i}}.{theirs}.{kind}")
                    for ours, theirs in _PARTS.items()
                ),
                Weight(f"norm.{kind}", f"layernorm.{kind}"),
                Weight(f"pooler.{kind}", f"pooler.dense.{kind}"),
            )
        ),
    )

    def build(self, config: ViTConfig) -> None:
        """Make the layers, named as the house names them."""
        D, H, side = config.hidden_size, config.num_attention_heads, config.image_size // config.patch_size
        norm = partial(LayerNorm, eps=config.layer_norm_eps)
        if config.stem_widths is None:
            self.patches = PatchEmbedding(config.num_channels, D, config.patch_size)
        else:
            self.patches = ConvolutionalStem(config.num_channels, config.stem_widths)
        first = int(config.pooling == "class")
        self.class_token = nn.Parameter(torch.zeros(1, 1, D)) if first else None
        self.places = (
            nn.Parameter(torch.zeros(1, first + side * side, D)) if config.positions == "learned" else None
        )
        self.dropout, self.norm = nn.Dropout(config.hidden_dropout_prob), norm(D)
        self.blocks = nn.ModuleList(
            EncoderBlock(
                D,
                H,
                norm=norm,
                dropout=config.hidden_dropout_prob,
                attention=_attention(config),
                feed_forward=FeedForward(D, config.intermediate_size, config.hidden_act),
            )
            for _ in range(config.num_hidden_layers)
        )
        self.pooler: nn.Linear | None = nn.Linear(D, config.pooler_output_size)

    def forward(
        self, pixel_values: Tensor, interpolate_pos_encoding: bool = False, output_hidden_states: bool = False
    ) -> PooledOutput:
        """States (B, 1 + N, D) of pictures (B, channels, S, S): the class token's first, then the patches row by row.

        interpolate_pos_encoding: stretch the positions to pictures of another size, a multiple of patch_size.
        Raises ValueError for pictures of another shape, size or dtype.
        """
        self._check(pixel_values, check_flag("interpolate_pos_encoding", interpolate_pos_encoding))
        x = self.patches(pixel_values)  # (B, N, D)
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)  # (B, 1 + N, D)
        side = self.config.patch_size
        x = self.dropout(x + self.positions(pixel_values.shape[2] // side, pixel_values.shape[3] // side))
        states = (x,)
        for block in self.blocks:
            x = block(x)
            states = (*states, x) if output_hidden_states else states
        x = self.norm(x)
        pooled = None
        if self.pooler is not None:
            pooled = ACTIVATIONS[self.config.pooler_act](self.pooler(self.summary(x)))
        return PooledOutput(x, states if output_hidden_states else None, pooled)

    def summary(self, states: Tensor) -> Tensor:
        """States (B, T, D) -> one vector a picture (B, D): the class token's, or the mean."""
        return states[:, 0] if self.class_token is not None else states.mean(1)

    def positions(self, rows: int, columns: int) -> Tensor:
        """What is added to the tokens of a board of rows x columns patches, (1, T, D); the class token's first."""
        first = int(self.class_token is not None)
        if self.places is None:
            table = sincos_positions(rows, columns, self.config.width).to(self.device, self.dtype)
            return torch.cat([table.new_zeros(first, self.config.width), table])[None]
        if rows == columns == self.config.image_size // self.config.patch_size:
            return self.places
        board = interpolate_positions(self.places[0, first:], rows, columns)
        return torch.cat([self.places[0, :first], board])[None]

    def _check(self, pixels: Tensor, other_sizes: bool) -> None:
        """ValueError for what are no pictures that this model reads."""
        config = self.config
        if not isinstance(pixels, Tensor) or pixels.dim() != 4 or pixels.shape[1] != config.num_channels:
            raise ValueError(
                f"pixel_values must be a tensor (B, {config.num_channels}, S, S), got {describe(pixels)}"
            )
        if pixels.dtype != self.dtype and autocast_dtype(pixels) is None:
            raise ValueError(f"pixel_values must have the model's dtype {self.dtype}, got {describe(pixels)}")
        height, width = pixels.shape[2:]
        if not other_sizes and (height, width) != (config.image_size, config.image_size):
            raise ValueError(
                f"pixel_values must be {config.image_size} x {config.image_size} pixels, got {height} x {width} "
                "(interpolate_pos_encoding=True takes other sizes)"
            )
        if not height or not width or height % config.patch_size or width % config.patch_size:
            raise ValueError(
                f"pixel_values must have sides divisible by patch_size {config.patch_size}, got {height} x {width}"
            )

    @torch.no_grad()
    def initialise(self, generator: torch.Generator, only: Collection[str] | None = None) -> None:
        """First weights: the house's; tokens, places and patches N(0, initializer_range), a stem's kept in size."""
        super().initialise(generator, only)
        if only is not None:
            return
        std = self.config.initializer_range
        for parameter in (self.class_token, self.places):
            if parameter is not None:
                parameter.normal_(0.0, std, generator=generator)
        for layer in self.patches.modules():
            if isinstance(layer, nn.Conv2d):
                stem = self.config.stem_widths is not None
                layer.weight.normal_(
                    0.0, (2 / layer.weight[0].numel()) ** 0.5 if stem else std, generator=generator
                )
                layer.bias.zero_()

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return "ViTModel"


def _attention(config: ViTConfig) -> MultiHeadAttention:
    D, H, dropout = config.hidden_size, config.num_attention_heads, config.attention_probs_dropout_prob
    return MultiHeadAttention(D, H, bias=config.qkv_bias, out_bias=True, dropout=dropout)


class ViTForImageClassification(TaskModel):
    """ViT that says which of num_labels kinds a picture is."""

    config_class, body_class, labelled = ViTConfig, ViT, True
    weights = (
        Weight("classifier.weight", "classifier.weight"),
        Weight("classifier.bias", "classifier.bias"),
    )

    def build(self, config: ViTConfig) -> None:
        """The body without its pooler, and the classifier."""
        super().build(config)
        self.body.pooler = None

    def build_head(self, config: ViTConfig) -> None:
        """The head: one layer."""
        self.classifier = nn.Linear(config.width, config.num_labels)

    def initialise(self, generator: torch.Generator, only: Collection[str] | None = None) -> None:
        """As the body's, and the classifier's."""
        super().initialise(generator, only)
        if only is None:
            self.body.initialise(generator)

    def forward(
        self, pixel_values: Tensor, interpolate_pos_encoding: bool = False, output_hidden_states: bool = False
    ) -> LogitsOutput:
        """Logits (B, labels). The arguments and what they raise are ViT.forward's."""
        out = self.body(pixel_values, interpolate_pos_encoding, output_hidden_states)
        logits = self.classifier(self.body.summary(out.last_hidden_state))
        return LogitsOutput(out.last_hidden_state, out.hidden_states, logits=logits)

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return "ViTForImageClassification"
