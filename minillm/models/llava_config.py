"""What a LLaVA's config.json says: a vision tower's config, a language model's, and how the two are joined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from minillm._checks import check_choice, check_flag, check_int
from minillm.models.clip import CLIPVisionConfig
from minillm.models.config import ModelConfig, sub_config
from minillm.models.llama import LlamaConfig
from minillm.nn.blocks import ACTIVATIONS

STRATEGIES = {"default": 1, "full": 0}  # how many of the tower's first tokens are left out
PROJECTORS = ("mlp2x_gelu", "linear")  # as the LLaVA repository names them: 1.5's, and the first LLaVA's


@dataclass
class LLaVAConfig(ModelConfig):
    """transformers' LlavaConfig: same names. Both sub-configs may come as dicts.

    image_token_id, the id whose places the pictures take, stands in files as image_token_index; either name opens.
    vision_feature_layer: which hidden states of the tower are shown (0 the embeddings, -1 the last block's), or a list
    of them, side by side. projector_type is ours: transformers has 1.5's two layers only, so a folder with "linear"
    opens here alone. What a language model is asked for (vocab_size, max_length, ...) is the text model's.
    """

    model_types: ClassVar[tuple[str, ...]] = ("llava",)

    vision_config: CLIPVisionConfig | dict[str, Any] = field(default_factory=dict)
    text_config: LlamaConfig | dict[str, Any] = field(default_factory=dict)
    image_token_index: int = 32000
    image_seq_length: int | None = None
    projector_hidden_act: str = "gelu"
    projector_type: str = "mlp2x_gelu"
    vision_feature_select_strategy: str = "default"
    vision_feature_layer: int | list[int] = -2
    multimodal_projector_bias: bool = True
    tie_word_embeddings: bool = False
    model_type: str = "llava"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LLaVAConfig:
        """As ModelConfig.from_dict; an image_token_id in the file is its image_token_index."""
        if isinstance(values, Mapping) and "image_token_id" in values:
            values = {"image_token_index": values["image_token_id"], **values}
            values.pop("image_token_id")
        return super().from_dict(values)

    def __post_init__(self) -> None:
        """Open both sub-configs and check every field; ValueError naming the one that is wrong."""
        self.vision_config = sub_config("vision_config", self.vision_config, CLIPVisionConfig)
        self.text_config = sub_config("text_config", self.text_config, LlamaConfig)
        if self.tie_word_embeddings or self.text_config.tie_word_embeddings:  # either says it for both
            check_flag("tie_word_embeddings", self.tie_word_embeddings)
            self.tie_word_embeddings = self.text_config.tie_word_embeddings = True
        self._settle_labels()
        check_int("image_token_id", self.image_token_index, 0, self.vocab_size - 1)
        check_choice("projector_hidden_act", self.projector_hidden_act, tuple(ACTIVATIONS))
        check_choice("projector_type", self.projector_type, PROJECTORS)
        check_choice("vision_feature_select_strategy", self.vision_feature_select_strategy, tuple(STRATEGIES))
        check_flag("multimodal_projector_bias", self.multimodal_projector_bias)
        states = self.vision_config.num_hidden_layers + 1
        if not self.feature_layers:
            raise ValueError(f"vision_feature_layer must name a layer, got {self.vision_feature_layer!r}")
        for layer in self.feature_layers:
            check_int("vision_feature_layer", layer, -states, states - 1)
        self.image_seq_length = self.picture_tokens

    @property
    def image_token_id(self) -> int:
        """The id of the token whose places the pictures take."""
        return self.image_token_index

    @property
    def feature_layers(self) -> tuple[int, ...]:
        """The hidden states of the tower that are shown, as a tuple."""
        layers = self.vision_feature_layer
        return tuple(layers) if isinstance(layers, (list, tuple)) else (layers,)

    @property
    def picture_tokens(self) -> int:
        """N: how many tokens a picture becomes, one a patch; with "full" the class token, too."""
        return self.vision_config.patches + 1 - STRATEGIES[self.vision_feature_select_strategy]

    # What caches, checks and generation ask of a language model's config

    @property
    def vocab_size(self) -> int:
        """The text model's."""
        return self.text_config.vocab_size

    @property
    def eos_token_id(self) -> int | list[int] | None:
        """The text model's."""
        return self.text_config.eos_token_id

    @property
    def pad_token_id(self) -> int | None:
        """The text model's."""
        return self.text_config.pad_token_id

    @property
    def rope_scaling(self) -> dict[str, Any] | None:
        """The text model's."""
        return self.text_config.rope_scaling

    @property
    def num_layers(self) -> int:
        """Blocks of the text model."""
        return self.text_config.num_layers

    @property
    def most_layers(self) -> int:
        """Blocks of the longer one of tower and text model."""
        return max(self.text_config.num_layers, self.vision_config.most_layers)

    @property
    def kv_heads(self) -> int:
        """Key/value heads a block of the text model."""
        return self.text_config.kv_heads

    @property
    def head_dim(self) -> int:
        """Width of a head of the text model."""
        return self.text_config.head_dim

    @property
    def width(self) -> int:
        """Width of the text model, C."""
        return self.text_config.width

    @property
    def max_length(self) -> int:
        """The text model's window: pictures' tokens count, too."""
        return self.text_config.max_length

    def to_dict(self) -> dict[str, Any]:
        """The content of config.json, both sub-configs as dicts; projector_type only where it is not 1.5's."""
        values = super().to_dict()
        values |= {"vision_config": self.vision_config.to_dict(), "text_config": self.text_config.to_dict()}
        if self.projector_type == PROJECTORS[0]:
            del values["projector_type"]
        return values
