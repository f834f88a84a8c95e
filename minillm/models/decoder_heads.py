"""A classifier on a decoder: the last token has seen the whole text, so the score is read off it.

    logits = W body(ids)[last token that is no padding]

Book 3.3.1 모델 활용하기, 4.2 채점 모델 (one label: a reward). Held against transformers' GPT2ForSequenceClassification
and LlamaForSequenceClassification.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from minillm.models.base import Weight
from minillm.models.decoder import DecoderBody
from minillm.models.gpt2 import GPT2Body, GPT2Config
from minillm.models.heads import TaskModel
from minillm.models.llama import FAMILIES, LlamaBody, LlamaConfig
from minillm.models.outputs import LogitsOutput


class DecoderForSequenceClassification(TaskModel):
    """Which of num_labels kinds a text is, told by a decoder. GPT-2's and Llama's differ in their bodies only."""

    body_class: ClassVar[type[DecoderBody]]
    weights = (Weight("score.weight", "score.weight"),)
    labelled = True

    def build_head(self, config: Any) -> None:
        """The head: one matrix without bias."""
        self.score = nn.Linear(config.width, config.num_labels, bias=False)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> LogitsOutput:
        """Logits (B, labels) of each text's last token. The arguments are DecoderBody.forward's, without a cache.

        The last token is the last id that is not config.pad_token_id, as in transformers; without that id, or of
        inputs_embeds, the last one that attention_mask calls a token. ValueError as the body, and for several texts
        of which neither says what is padding.
        """
        pad = self.config.pad_token_id
        unknown = inputs_embeds is None and pad is None and attention_mask is None
        if unknown and isinstance(input_ids, Tensor) and len(input_ids) > 1:
            raise ValueError(
                f"{len(input_ids)} texts need an attention_mask or a config with a pad_token_id, got None for both"
            )
        out = self.body(input_ids, attention_mask, None, position_ids, inputs_embeds, output_hidden_states)
        x = out.last_hidden_state  # (B, T, C)
        if inputs_embeds is None and pad is not None:
            tokens = input_ids != pad
        else:
            tokens = None if attention_mask is None else attention_mask.bool()
        if tokens is None:
            last = x[:, -1]
        else:
            places = torch.arange(x.shape[1], device=x.device)
            last = x[torch.arange(len(x), device=x.device), (places * tokens).argmax(-1)]  # (B, C)
        return LogitsOutput(x, out.hidden_states, logits=self.score(last))


class GPT2ForSequenceClassification(DecoderForSequenceClassification):
    """GPT-2 that says which of num_labels kinds a text is."""

    config_class, body_class = GPT2Config, GPT2Body

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return "GPT2ForSequenceClassification"


class LlamaForSequenceClassification(DecoderForSequenceClassification):
    """Llama, or one of its family, that says which of num_labels kinds a text is."""

    config_class, body_class = LlamaConfig, LlamaBody

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return f"{FAMILIES[self.config.model_type]}ForSequenceClassification"
