"""LLaVA: a language model that reads pictures, because somebody turns them into tokens of its own width.

    picture (3, S, S) --tower--> N patches (N, D) --projector--> N tokens (N, C)
    text    "what is <image> ?" --table--> (T, C);  the N places of <image> take the picture's tokens;  then as ever

The tower is CLIP's, the language model any of the Llama family; only the projector is new, so only it must be learned
from nothing. Book 14.4.2 LLaVA 모델 구조, 14.4.3 LLaVA 1.5. Papers: Liu et al. 2023 (a linear projector), Liu et al.
2024 (1.5: two layers). Held against transformers' LlavaForConditionalGeneration: the same logits and gradients on the
same weights, folders both ways. Leaves out: towers other than CLIP's, video.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import check_int, describe
from minillm.models.base import PretrainedModel
from minillm.models.clip import CLIPVision
from minillm.models.inputs import check_tokens, look_up
from minillm.models.llama import Llama
from minillm.models.llava_config import STRATEGIES, LLaVAConfig
from minillm.models.outputs import CausalLMOutput
from minillm.nn.blocks import ACTIVATIONS
from minillm.nn.cache import Cache


class LinearProjector(nn.Module):
    """The first LLaVA's: one matrix from the tower's width D to the language model's C."""

    def __init__(self, config: LLaVAConfig):
        super().__init__()
        seen = config.vision_config.hidden_size * len(config.feature_layers)
        self.linear_1 = nn.Linear(seen, config.width, bias=config.multimodal_projector_bias)

    def forward(self, states: Tensor) -> Tensor:
        """The tower's states (P, N, D) -> tokens (P, N, C)."""
        return self.linear_1(states)


class MLPProjector(LinearProjector):
    """LLaVA 1.5's: a second matrix, and an activation between the two."""

    def __init__(self, config: LLaVAConfig):
        super().__init__(config)
        self.activation = ACTIVATIONS[config.projector_hidden_act]
        self.linear_2 = nn.Linear(config.width, config.width, bias=config.multimodal_projector_bias)

    def forward(self, states: Tensor) -> Tensor:
        """The tower's states (P, N, D) -> tokens (P, N, C)."""
        return self.linear_2(self.activation(self.linear_1(states)))


PROJECTORS = {"mlp2x_gelu": MLPProjector, "linear": LinearProjector}
FOLDER = {"vision": "vision_tower.", "projector": "multi_modal_projector.", "language": "language_model."}


def place_pictures(words: Tensor, here: Tensor, pictures: Tensor) -> Tensor:
    """words (B, T, C) with the rows of pictures (P, N, C) at the places where here (B, T) is True, in their order.

    As many places as rows. [the, <image>, <image>, cat] and one picture of two tokens -> [the, p0, p1, cat].
    """
    return words.masked_scatter(here[..., None], pictures.to(words.dtype))  # (B, T, C)


def expand_image_tokens(ids: Sequence[int], image_token_id: int, count: int) -> list[int]:
    """Each image token of a text `count` times: [1, IMG, 7] with count 3 -> [1, IMG, IMG, IMG, 7]."""
    check_int("count", count, 1)
    return [i for i in ids for _ in range(count if i == image_token_id else 1)]


class LLaVA(PretrainedModel):
    """Tower, projector and language model. `LLaVA(config, seed)` or `LLaVA.from_pretrained(folder)`."""

    config_class = LLaVAConfig
    weights = ()  # each part has its own table

    def build(self, config: LLaVAConfig) -> None:
        """Make the three parts."""
        self.vision = CLIPVision.unfilled(config.vision_config)
        self.projector = PROJECTORS[config.projector_type](config)
        self.language = Llama.unfilled(config.text_config)

    def look(self, pixel_values: Tensor) -> Tensor:
        """Pictures (P, 3, S, S) -> what the tower saw (P, N, D), one row a patch: the projector's input."""
        states = self.vision(pixel_values, output_hidden_states=True).hidden_states
        seen = torch.cat([states[layer] for layer in self.config.feature_layers], dim=-1)  # (P, 1 + N, D)
        return seen[:, STRATEGIES[self.config.vision_feature_select_strategy] :]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        logits_to_keep: int = 0,
        *,
        pixel_values: Tensor | None = None,
        picture_states: Tensor | None = None,
    ) -> CausalLMOutput:
        """Logits (B, T, V) of input_ids (B, T) int64, whose image tokens stand for the pictures, in their order.

        pixel_values: (P, 3, S, S), every picture of every text; a text has N image tokens for each of its own.
        picture_states: what `look` gave, in place of it: a frozen tower need see a picture once only. Without either it
        is a language model. The rest: CausalLM.forward's. ValueError for texts too long for the window, for another
        number of image tokens than the pictures have, and as the parts say it.
        """
        if pixel_values is not None and picture_states is not None:
            raise ValueError("give either pixel_values or picture_states, got both")
        past = 0 if cache is None else getattr(cache, "length", 0)
        check_tokens(self, input_ids, inputs_embeds, position_ids, past)  # before the tower works
        if input_ids is not None:
            self._check_count(input_ids, pixel_values, picture_states)
            inputs_embeds = self.embed(input_ids, pixel_values, picture_states)
        elif pixel_values is not None or picture_states is not None:
            raise ValueError("pictures go where input_ids have image tokens: inputs_embeds has no such place")
        return self.language(
            None, attention_mask, cache, position_ids, inputs_embeds, output_hidden_states, logits_to_keep
        )

    def embed(
        self, input_ids: Tensor, pixel_values: Tensor | None = None, picture_states: Tensor | None = None
    ) -> Tensor:
        """What the language model reads (B, T, C): rows of its table, and the pictures' tokens in their places."""
        words = look_up(self.language.body.tokens, input_ids)  # (B, T, C)
        if pixel_values is not None:
            picture_states = self.look(pixel_values)
        if picture_states is None:
            return words
        here = input_ids == self.config.image_token_id  # (B, T)
        return place_pictures(words, here, self.projector(picture_states))

    def _check_count(self, input_ids: Tensor, pixels: Tensor | None, states: Tensor | None) -> None:
        """ValueError unless there is an image token for each of the pictures' tokens."""
        N, D = self.config.picture_tokens, self.projector.linear_1.in_features
        given = pixels if states is None else states
        if pixels is not None and (not isinstance(pixels, Tensor) or pixels.dim() != 4):
            raise ValueError(f"pixel_values must be pictures (P, 3, S, S), got {describe(pixels)}")
        if states is not None and (not isinstance(states, Tensor) or states.shape[1:] != (N, D)):
            raise ValueError(f"picture_states must be (P, {N}, {D}), got {describe(states)}")
        pictures = 0 if given is None else len(given)
        places = int((input_ids == self.config.image_token_id).sum())
        if places != pictures * N:
            hint = (
                ""
                if pictures
                else "; pixel_values give the pictures, in generate Seeing(model, pixel_values)"
            )
            raise ValueError(
                f"input_ids must hold {N} image tokens for each picture, {pictures * N} for {pictures}, got {places}"
                + hint
            )

    # What the frame asks

    @torch.no_grad()
    def initialise(self, generator: torch.Generator, only: Any = None) -> None:
        """First weights: each part's own; the projector's N(0, 1 / its input's width), so that tokens have its size."""
        self.vision.initialise(generator), self.language.initialise(generator)
        for layer in self.projector.children():
            layer.weight.normal_(0.0, layer.in_features**-0.5, generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()

    def new_cache(self, batch_size: int, max_length: int) -> Cache:
        """The kind of cache the language model needs; a picture's tokens count."""
        return self.language.new_cache(batch_size, max_length)

    def tie(self) -> None:
        """The language model's."""
        self.language.tie()

    def to_hugging_face(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each part's tensors behind its name in published folders."""
        out = {}
        for part, theirs in FOLDER.items():
            own = {n.removeprefix(f"{part}."): t for n, t in state.items() if n.startswith(f"{part}.")}
            if part == "vision":
                theirs += self.vision.prefix
            if part != "projector":
                own = getattr(self, part).to_hugging_face(own)
            out |= {theirs + name: tensor for name, tensor in own.items()}
        return out

    def from_hugging_face(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The way back, from published folders and from those with the names of today ("model.language_model.")."""
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in (*FOLDER, "")}
        for name, tensor in tensors.items():
            name = FOLDER["language"] + name if name == "lm_head.weight" else name.removeprefix("model.")
            part = next((part for part, theirs in FOLDER.items() if name.startswith(theirs)), "")
            parts[part][name.removeprefix(FOLDER.get(part, ""))] = tensor
        for part in ("vision", "language"):
            parts[part] = getattr(self, part).from_hugging_face(parts[part])
        if self.language.config is not self.config.text_config:  # its output matrix differs from its table
            self.config = replace(self.config, text_config=self.language.config, tie_word_embeddings=False)
        strange = parts.pop("")
        return {f"{part}.{name}": t for part, own in parts.items() for name, t in own.items()} | strange

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return "LlavaForConditionalGeneration"
