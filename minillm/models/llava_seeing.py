"""A LLaVA with its pictures before it: called like a language model, so that one loop writes for both.

    generate(Seeing(model, pictures), ids)      prefill: embeddings, with the pictures' tokens; decode: ids alone

The tower and the projector see each picture once, when this is made. Afterwards the cache holds their keys and values
like those of words. Book 14.4. Held against transformers' generate on the same weights.
Leaves out: the paged engine, whose prefix cache knows tokens by their ids, and all pictures have the same ids.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from minillm._checks import describe
from minillm.models.inputs import look_up
from minillm.models.llava import LLaVA, place_pictures
from minillm.models.outputs import CausalLMOutput
from minillm.nn.cache import Cache


class Seeing(nn.Module):
    """model, looking at pictures: (P, 3, S, S), those of one text, or a list of such, for each text its own.

    Rows of a batch are the texts in order, or several rows in a row for each. It never writes the image token: there
    would be no picture behind it. Made without a gradient. ValueError for what are no pictures of this model.
    """

    def __init__(self, model: LLaVA, pictures: Tensor | Sequence[Tensor]):
        super().__init__()
        if not isinstance(model, LLaVA):
            raise ValueError(f"model must be a LLaVA, got {describe(model)}")
        texts = [pictures] if isinstance(pictures, Tensor) else pictures
        if not isinstance(texts, Sequence) or not texts or not all(isinstance(one, Tensor) for one in texts):
            raise ValueError(
                f"pictures must be a tensor (P, 3, S, S) or a list of them, got {describe(texts)}"
            )
        scaling = model.config.rope_scaling or {}
        if len(texts) > 1 and scaling.get("rope_type") == "dynamic":  # its rows come in batches of one length
            raise ValueError("a model with dynamic rope_scaling looks at the pictures of one text at a time")
        self.model = model
        self.config, self.generation_config = model.config.text_config, model.generation_config
        with torch.no_grad():
            self.features = [
                model.projector(model.look(one)).flatten(0, 1) for one in texts
            ]  # (P * N, C) each

    @property
    def device(self) -> torch.device:
        """The model's."""
        return self.model.device

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The model's."""
        return self.model.eos_token_ids

    def new_cache(self, batch_size: int, max_length: int) -> Cache:
        """The language model's."""
        return self.model.new_cache(batch_size, max_length)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        position_ids: Tensor | None = None,
        logits_to_keep: int = 0,
    ) -> CausalLMOutput:
        """As CausalLM.forward. The first image tokens of a text are its pictures; behind a cache the last of them."""
        image, language = self.model.config.image_token_id, self.model.language
        here = input_ids == image  # (B, T)
        if attention_mask is not None:  # a row may be padded with its own first token, the image token
            here &= attention_mask[:, -input_ids.shape[1] :].bool()
        words = look_up(language.body.tokens, input_ids)  # (B, T, C)
        if cache is None or not cache.length or here.any():
            known = cache is not None and cache.length > 0
            words = place_pictures(words, here, self._pictures(here.sum(dim=1).tolist(), known))
        out = language(None, attention_mask, cache, position_ids, words, logits_to_keep=logits_to_keep)
        out.logits = out.logits.index_fill(-1, torch.tensor([image], device=self.device), -torch.inf)
        return out

    def _pictures(self, places: list[int], known: bool) -> Tensor:
        """The features (sum of places, C) for so many image tokens in each row; ValueError where they do not fit."""
        if len(places) % len(self.features):
            raise ValueError(f"{len(places)} texts do not go with the pictures of {len(self.features)}")
        copies, rows = len(places) // len(self.features), []
        for row, count in enumerate(places):
            features = self.features[row // copies]
            if count > len(features) or (count < len(features) and not known):
                raise ValueError(
                    f"text {row} holds {count} image tokens, its pictures are {len(features)} tokens "
                    f"({self.model.config.picture_tokens} each)"
                )
            rows.append(features[len(features) - count :])
        return torch.cat(rows)
