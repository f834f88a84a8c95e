"""An encoder-decoder as a language model: its decoder, given the texts it looks back at.

    p(target | source) = Π p(token t | tokens before t, source)

Once the source is fixed, the decoder asks for nothing but the tokens so far, as a decoder-only model does. So the one
loop of loop.py serves both: the target starts with the model's start token, and the sources are read once.
Some checkpoints force a token: BART ends with its end token when the room does, mBART starts with a language. Held
against transformers' generate (ForcedBOSTokenLogitsProcessor, ForcedEOSTokenLogitsProcessor).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from minillm._checks import check_int
from minillm.inference.params import SamplingParams
from minillm.models.config import as_ids
from minillm.models.outputs import BodyOutput, Seq2SeqLMOutput
from minillm.nn.cache import Cache


def is_encoder_decoder(model: nn.Module) -> bool:
    """Whether the model reads one text and writes another."""
    return getattr(model.config, "is_encoder_decoder", False) and hasattr(model, "encode")


def conditioned(
    model: nn.Module, prompts: Sequence[list[int]], params: SamplingParams
) -> tuple[nn.Module, list[list[int]]]:
    """A language model and the texts it goes on with: for an encoder-decoder its decoder, and the start token of each.

    A decoder-only model and its prompts come back as they are. ValueError if no start token is known.
    """
    if not is_encoder_decoder(model):
        return model, list(prompts)
    reader = Conditioned(model, prompts, params)
    return reader, [[reader.start] for _ in prompts]


class Conditioned(nn.Module):
    """A model's decoder, called like a decoder-only model. The sources are read at the first call.

    model: an encoder-decoder with an output matrix. sources: ids of the text that each row looks back at; one serves
    any number of rows. From the second pass on a cache says what its rows look back at.
    """

    def __init__(self, model: nn.Module, sources: Sequence[list[int]], params: SamplingParams):
        super().__init__()
        self.model, self.sources = model, sources
        # generation_config.json, where there is one, says it all, as in transformers
        said = model.generation_config or model.config.to_dict()
        start = said.get("decoder_start_token_id")
        if start is None:
            start = getattr(model.config, "decoder_start_token_id", None)
        if start is None:  # as in transformers' generate
            start = said.get("bos_token_id")
        if start is None:
            raise ValueError(
                "the model has no decoder_start_token_id and no bos_token_id: nothing to start a text with"
            )
        self.start = self._check("decoder_start_token_id", start)[0]
        self.first = self._check("forced_bos_token_id", said.get("forced_bos_token_id"))
        self.last = self._check("forced_eos_token_id", said.get("forced_eos_token_id"))
        # a user who wants no end, or so many tokens before it, is not given one
        self.room = 0 if params.ignore_eos or params.min_tokens == params.max_tokens else params.max_tokens
        self.read: tuple[BodyOutput, Tensor] | None = (
            None  # the encoder's output, and the mask of its padding
        )

    def _check(self, name: str, ids: Any) -> list[int]:
        return [check_int(name, i, 0, self.model.config.vocab_size - 1) for i in as_ids(ids)]

    @property
    def device(self) -> torch.device:
        """The model's."""
        return self.model.device

    def new_cache(self, batch_size: int, max_length: int) -> Cache:
        """The model's."""
        return self.model.new_cache(batch_size, max_length)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        position_ids: None = None,
        logits_to_keep: int = 0,
    ) -> Seq2SeqLMOutput:
        """The model's output for the target's tokens (B, T); rows are of one length, so nobody moves positions."""
        output = mask = None
        if cache is None or not cache.length:
            output, mask = self._source(len(input_ids))
        out = self.model(
            attention_mask=mask,
            decoder_input_ids=input_ids,
            decoder_attention_mask=attention_mask,
            cache=cache,
            encoder_output=output,
            logits_to_keep=logits_to_keep,
        )
        length = input_ids.shape[1] if cache is None else cache.length
        for at, ids in ((self.room, self.last), (1, self.first)):
            if length == at and ids:
                out.logits[:, -1] = -torch.inf
                out.logits[:, -1, ids] = 0.0  # certain
        return out

    def _source(self, rows: int) -> tuple[BodyOutput, Tensor]:
        """What so many rows look back at, read at the first call."""
        if self.read is None:
            self.read = self._encode()
        output, mask = self.read
        if len(mask) == rows:
            return output, mask
        return BodyOutput(output.last_hidden_state.expand(rows, -1, -1)), mask.expand(rows, -1)

    def _encode(self) -> tuple[BodyOutput, Tensor]:
        """The encoder's output for all rows; a text that several rows look back at is read once."""
        texts = list(dict.fromkeys(map(tuple, self.sources)))
        # padded on the right: positions count from a text's first token, and the mask hides what the padding is
        rows = [torch.tensor(text, device=self.device) for text in texts]
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)  # (N, S)
        output = self.model.encode(pad_sequence(rows, batch_first=True), mask)
        which = torch.tensor([texts.index(tuple(source)) for source in self.sources], device=self.device)
        return BodyOutput(output.last_hidden_state[which]), mask[which]
