"""CLIP: two towers that never meet, a reader of captions and a reader of pictures, whose vectors can be compared.

    u = W_picture · pooled(picture) / ‖·‖      v = W_text · pooled(caption) / ‖·‖
    logits_per_image = exp(logit_scale) · u vᵀ         (pictures, captions);   logits_per_text: its transpose

Book 14.2 이미지와 텍스트를 연결하는 모델: CLIP. Paper: Radford et al. 2021. Held against transformers' CLIPModel: the
same logits and gradients on the same weights, folders both ways. The loss is training/contrastive.py's; classes from
words are clip_use.py's. Left out: pictures of another size than image_size.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_int, check_number
from minillm.models.base import PretrainedModel, Weight
from minillm.models.clip import CLIPVision, CLIPVisionConfig
from minillm.models.clip_text import CLIPText, CLIPTextConfig, draw_tower
from minillm.models.config import ModelConfig, sub_config

MOST_SCALE = 100.0  # the paper never multiplies cosines by more
TOWERS = ("text", "vision")


@dataclass
class CLIPConfig(ModelConfig):
    """transformers' CLIPConfig: text_config and vision_config (a config or its dict), projection_dim, and the
    logarithm that the scale of the logits starts from (2.6592: cosines times 14.3, a temperature of .07)."""

    model_types: ClassVar[tuple[str, ...]] = ("clip",)

    text_config: CLIPTextConfig | dict[str, Any] = field(default_factory=dict)
    vision_config: CLIPVisionConfig | dict[str, Any] = field(default_factory=dict)
    projection_dim: int = 512
    logit_scale_init_value: float = 2.6592
    initializer_factor: float = 1.0
    eos_token_id: int | list[int] | None = None
    tie_word_embeddings: bool = True
    model_type: str = "clip"

    def __post_init__(self) -> None:
        """Check every field; ValueError naming the one that is wrong."""
        self.text_config = sub_config("text_config", self.text_config, CLIPTextConfig)
        self.vision_config = sub_config("vision_config", self.vision_config, CLIPVisionConfig)
        check_int("projection_dim", self.projection_dim, 1)
        check_number("logit_scale_init_value", self.logit_scale_init_value)
        check_number("initializer_factor", self.initializer_factor, 0.0)
        self._settle_labels()

    @property
    def num_layers(self) -> int:
        """Blocks of the longer tower."""
        return max(self.text_config.num_layers, self.vision_config.num_layers)

    @property
    def most_layers(self) -> int:
        """What a table of weights counts up to."""
        return max(self.text_config.most_layers, self.vision_config.most_layers)

    @property
    def width(self) -> int:
        """Width of the vectors that both towers end in."""
        return self.projection_dim

    @property
    def max_length(self) -> int:
        """The longest caption in tokens."""
        return self.text_config.max_length

    def to_dict(self) -> dict[str, Any]:
        """The content of config.json, both sub-configs as dicts."""
        parts = {"text_config": self.text_config.to_dict(), "vision_config": self.vision_config.to_dict()}
        return {**super().to_dict(), **parts}


@dataclass
class CLIPOutput:
    """logits_per_image (P, B) and its transpose, and vectors of length 1: image_embeds (P, D), text_embeds (B, D)."""

    logits_per_image: Tensor
    logits_per_text: Tensor
    text_embeds: Tensor
    image_embeds: Tensor


class CLIP(PretrainedModel):
    """Both towers, a matrix above each, and the scale. `CLIP(config, seed)` or `CLIP.from_pretrained(folder)`."""

    config_class, generates = CLIPConfig, False
    weights = (
        Weight("text_projection.weight", "text_projection.weight"),
        Weight("vision_projection.weight", "visual_projection.weight"),
        Weight("logit_scale", "logit_scale"),
    )

    def build(self, config: CLIPConfig) -> None:
        """Make the towers and what stands on them."""
        self.text = CLIPText.unfilled(config.text_config)
        self.vision = CLIPVision.unfilled(config.vision_config)
        self.text_projection = nn.Linear(config.text_config.width, config.projection_dim, bias=False)
        self.vision_projection = nn.Linear(config.vision_config.width, config.projection_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))

    def __getattr__(self, name: str) -> Any:
        """Torch's look-up; for transformers' names of the two below an AttributeError that says ours."""
        kind = {"get_image_features": "image", "get_text_features": "text"}.get(name)
        if kind is not None:
            raise AttributeError(f"CLIP has no {name}: write encode_{kind}, whose vectors have length 1")
        return super().__getattr__(name)

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Pictures (P, 3, S, S) -> vectors (P, D) of length 1."""
        return F.normalize(self.vision_projection(self.vision(pixel_values).pooler_output), dim=1)

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Captions (B, T) -> vectors (B, D) of length 1."""
        return F.normalize(self.text_projection(self.text(input_ids, attention_mask).pooler_output), dim=1)

    def forward(
        self, input_ids: Tensor, pixel_values: Tensor, attention_mask: Tensor | None = None
    ) -> CLIPOutput:
        """How well each of P pictures fits each of B captions. ValueError as the towers say it."""
        u, v = self.encode_image(pixel_values), self.encode_text(input_ids, attention_mask)
        logits = self.logit_scale.exp() * u @ v.T  # (P, B)
        return CLIPOutput(logits, logits.T, v, u)

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """After an optimiser's step: the scale stays at MOST_SCALE or below, as in the paper."""
        self.logit_scale.clamp_(max=torch.tensor(MOST_SCALE).log().item())

    # What the frame asks

    @torch.no_grad()
    def initialise(self, generator: torch.Generator, only: Collection[str] | None = None) -> None:
        """First weights: the paper's; the projections N(0, 1 / their input's width)."""
        self.text.initialise(generator), self.vision.initialise(generator)
        draw_tower(self.vision, generator)
        for layer in (self.text_projection, self.vision_projection):
            layer.weight.normal_(0.0, layer.in_features**-0.5, generator=generator)
        self.logit_scale.fill_(float(self.config.logit_scale_init_value))

    def to_hugging_face(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each tower's tensors behind its name."""
        out, rest = {}, dict(state)
        for name in TOWERS:
            tower = getattr(self, name)
            own = {n: rest.pop(n) for n in state if n.startswith(f"{name}.")}
            theirs = tower.to_hugging_face({n.removeprefix(f"{name}."): t for n, t in own.items()})
            out |= {tower.prefix + n: tensor for n, tensor in theirs.items()}
        return out | super().to_hugging_face(rest)

    def from_hugging_face(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The way back; KeyError with the name of a tensor that is missing."""
        state, rest = {}, dict(tensors)
        for name in TOWERS:
            tower = getattr(self, name)
            own = {n: rest.pop(n) for n in tensors if n.startswith(tower.prefix)}
            state |= {f"{name}.{n}": t for n, t in tower.from_hugging_face(own).items()}
        return state | super().from_hugging_face(rest)

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return "CLIPModel"
