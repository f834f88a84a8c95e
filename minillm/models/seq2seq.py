"""The encoder-decoder: one stack reads a text, another writes one, looking back at what the first has read.

    encode   c = encoder(embed(source))                       every token sees the whole source
    decode   x = decoder(embed(target), c)                    every token sees itself, what came before, and c
    head     logits = x Wᵀ

The decoder given a source is a language model of the target: the same masks, cache and output matrix as a
decoder-only one, and cross-attention to c besides. T5 and BART are this frame with other stacks; here stand the checks
of what comes in, the masks, and the head.

Book 2.5 인코더, 2.6 디코더, 2.7 BERT, GPT, T5 등 트랜스포머를 활용한 아키텍처. Papers: Vaswani et al. 2017; Raffel et
al. 2020 (T5); Lewis et al. 2019 (BART). Held against transformers' T5 and BART. Leaves out: embeddings in place of ids,
positions of the caller's own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from minillm._checks import check_int, describe
from minillm._files import BadFileError
from minillm._kernels import autocast_dtype
from minillm.models.base import PretrainedModel, Weight
from minillm.models.decoder import Pass
from minillm.models.heads import ModelWithHead
from minillm.models.inputs import check_ids, check_padding, look_up
from minillm.models.outputs import BodyOutput, Seq2SeqLMOutput, Seq2SeqOutput
from minillm.nn import FeedForward, SwiGLU
from minillm.nn.cache import Cache
from minillm.nn.positions import Position


@dataclass
class StackPass(Pass):
    """A pass through one of the two stacks: the decoder's has a context (B, S, C), and a mask (B, 1, 1, S) of its
    tokens, or None where none is padding."""

    context: Tensor | None = None
    context_mask: Tensor | None = None

    def through(self, block: nn.Module, x: Tensor, place: Position | None = None) -> Tensor:
        """x (B, T, C) through a block of the stack, remembered as a hidden state."""
        if self.context is None:
            return self.keep(block(x, self.masks[None], place))
        return self.keep(block(x, self.context, self.masks[None], self.context_mask, self.cache, place))

    def output(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        """What the stack gives, and its hidden states, if they were asked for: the last one is what it gives."""
        return x, None if self.states is None else (*self.states[:-1], x)


class DroppedActivation(nn.Module):
    """An activation of a feed-forward layer with dropout on what it gives, while training.

    Before a gate it is dropout on the gated product all the same: what loses a factor is lost.
    """

    def __init__(self, activation: Callable[[Tensor], Tensor], dropout: float):
        super().__init__()
        self.activation, self.dropout = activation, nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x, any float tensor."""
        return self.dropout(self.activation(x))


def with_dropout(layer: FeedForward | SwiGLU, dropout: float) -> FeedForward | SwiGLU:
    """The feed-forward layer, with dropout on its hidden values."""
    if dropout:
        layer.activation = DroppedActivation(layer.activation, dropout)
    return layer


class Seq2SeqEncoder(PretrainedModel):
    """The half that reads. `build` makes tokens and encoder; the encoder takes embeddings and a StackPass."""

    tokens: nn.Embedding
    encoder: nn.Module
    table_names: ClassVar[tuple[str, ...]]  # of the table of tokens in a folder: one, or several

    def encode(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, output_hidden_states: bool = False
    ) -> BodyOutput:
        """The encoder's output (B, S, C) for input_ids (B, S) int64.

        attention_mask: (B, S) of 1 = token, 0 = padding, on either side. ValueError for wrong shapes or dtypes, ids
        outside the vocabulary, and texts past config.max_length.
        """
        B, S = self._check_ids("input_ids", input_ids)
        masks = {None: check_padding(attention_mask, B, S)}
        states = [] if output_hidden_states else None
        step = StackPass(input_ids, positions=0, keys=S, masks=masks, cache=None, states=states)
        x = self._embed("input_ids", input_ids)
        return BodyOutput(*step.output(self.encoder(x, step)))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, output_hidden_states: bool = False
    ) -> BodyOutput:
        """As `encode`."""
        return self.encode(input_ids, attention_mask, output_hidden_states)

    def _embed(self, name: str, ids: Tensor) -> Tensor:
        """The rows (B, T, C) of ids (B, T); ValueError, with the argument's name, for ids that the table lacks."""
        return look_up(self.tokens, ids, name)

    def _check_ids(self, name: str, ids: Tensor, past: int = 0) -> tuple[int, int]:
        B, T = check_ids(name, ids)
        if past + T > self.config.max_length:
            raise ValueError(
                f"{name}: {past + T} tokens do not fit into the context window of {self.config.max_length}"
            )
        return B, T

    def from_hugging_face(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As PretrainedModel's, from folders that hold the one embedding table under several names, too."""
        return super().from_hugging_face(self.one_table(tensors))

    def one_table(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors with the embedding table under its first name alone; BadFileError where tables differ."""
        rest = dict(tensors)
        prefix = self.prefix if any(name.startswith(self.prefix) for name in rest) else ""
        first, *others = (prefix + name for name in self.table_names)
        for name in others:
            table = rest.pop(name, None)
            if table is not None and not torch.equal(table, rest.setdefault(first, table)):
                raise BadFileError(f"{name} differs from {first}: encoder and decoder share one table here")
        return rest


class Seq2SeqBody(Seq2SeqEncoder):
    """Both halves without an output matrix. `build` makes tokens, encoder and decoder."""

    decoder: nn.Module

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        encoder_output: BodyOutput | Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> Seq2SeqOutput:
        """The decoder's states (B, T, C) of decoder_input_ids (B, T) int64, after reading input_ids (B, S) int64.

        attention_mask: (B, S) of 1 = token, 0 = padding, of the source; decoder_attention_mask the same of the target
        (B, T), with a cache also (B, past + T). encoder_output: what `encode` gave, or its states (B, S, C), in place
        of input_ids; attention_mask is then still that of the source. cache: holds keys and values of the tokens
        before, and what cross-attention made of the source; what comes in is new. Once it holds a source,
        decoder_input_ids are enough. A call that fails leaves it as it was. Raises ValueError for wrong shapes or
        dtypes, ids outside the vocabulary, a source that is missing or given twice, texts past config.max_length.
        """
        if cache is not None and not hasattr(cache, "of_context"):
            raise ValueError(f"cache must be a KVCache or None, got {describe(cache)}")
        past = 0 if cache is None else cache.length
        B, T = self._check_ids("decoder_input_ids", decoder_input_ids, past)
        source, context_mask = self._source(B, input_ids, attention_mask, encoder_output, cache)
        with nullcontext() if cache is None else cache.all_or_nothing():
            if cache is not None:
                decoder_attention_mask = cache.extend(decoder_attention_mask, B, T)
            step = StackPass(
                tokens=decoder_input_ids,
                positions=past,
                keys=past + T,
                masks={None: check_padding(decoder_attention_mask, B, past + T, "decoder_attention_mask")},
                cache=cache,
                states=[] if output_hidden_states else None,
                context_mask=context_mask,
            )
            x = self._embed(
                "decoder_input_ids", decoder_input_ids
            )  # before the source is read: whether the decoder's ids will do
            if source is None:
                source = self.encode(input_ids, attention_mask, output_hidden_states)
            if cache is not None:
                cache.source = source, context_mask
            step.context = source.last_hidden_state
            out = step.output(self.decoder(x, step))
            if cache is not None and cache.length != past + T:
                raise ValueError(
                    f"the cache is of another model: it should hold {past + T} tokens now, it has {cache.length}"
                )
        return Seq2SeqOutput(
            *out,
            encoder_last_hidden_state=source.last_hidden_state,
            encoder_hidden_states=source.hidden_states if output_hidden_states else None,
        )

    def _source(
        self,
        B: int,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        encoder_output: BodyOutput | Tensor | None,
        cache: Cache | None,
    ) -> tuple[BodyOutput | None, Tensor | None]:
        """What the decoder looks back at, None if input_ids are still to be read, and the mask of its padding."""
        if input_ids is not None and encoder_output is not None:
            raise ValueError("give either input_ids or encoder_output, got both")
        known = None
        if input_ids is not None:
            shape = self._check_ids("input_ids", input_ids)
        elif encoder_output is not None:
            known = self._check_output(encoder_output)
        elif cache is not None and cache.source is not None:
            known, mask = cache.source
            if attention_mask is None:
                return known, mask
        else:
            raise ValueError("the decoder needs a text to look back at: give input_ids or encoder_output")
        shape = shape if known is None else known.last_hidden_state.shape[:2]
        if shape[0] != B:
            raise ValueError(f"decoder_input_ids has {B} texts, what it looks back at has {shape[0]}")
        return known, check_padding(attention_mask, *shape)

    def _check_output(self, output: BodyOutput | Tensor) -> BodyOutput:
        """The encoder's output as `encode` gives it; ValueError if it is none of this model."""
        states = getattr(output, "last_hidden_state", output)
        width = self.config.width
        if (
            not isinstance(states, Tensor)
            or not states.is_floating_point()
            or states.dim() != 3
            or states.shape[2] != width
            or (states.dtype != self.dtype and autocast_dtype(states) is None)
        ):
            raise ValueError(
                f"encoder_output must be what encode gives or its states (B, S, {width}) in {self.dtype}, "
                f"got {describe(states)}"
            )
        return output if isinstance(output, BodyOutput) else BodyOutput(states)


class Seq2SeqLM(ModelWithHead):
    """An encoder-decoder with an output matrix: T5 and BART are two of them."""

    body_class: ClassVar[type[Seq2SeqBody]]
    weights = (Weight("head.weight", "lm_head.weight"),)
    output = "head"  # the embedding table when the config says so

    def build_head(self, config: Any) -> None:
        """The output matrix."""
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)

    def scores(self, x: Tensor) -> Tensor:
        """The decoder's states (B, T, C) -> logits (B, T, V)."""
        return self.head(x)

    def encode(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, output_hidden_states: bool = False
    ) -> BodyOutput:
        """The encoder's output (B, S, C), to be handed to `forward` as encoder_output. As Seq2SeqBody.encode."""
        return self.body.encode(input_ids, attention_mask, output_hidden_states)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        encoder_output: BodyOutput | Tensor | None = None,
        output_hidden_states: bool = False,
        logits_to_keep: int = 0,
    ) -> Seq2SeqLMOutput:
        """Logits (B, T, V) of decoder_input_ids (B, T) int64. The arguments are Seq2SeqBody.forward's.

        logits_to_keep: last positions to give logits for, 0 for all. ValueError as the body, and for more than T.
        """
        if logits_to_keep != 0:
            ids = decoder_input_ids
            check_int("logits_to_keep", logits_to_keep, 0, ids.shape[-1] if isinstance(ids, Tensor) else None)
        with nullcontext() if not hasattr(cache, "all_or_nothing") else cache.all_or_nothing():
            out = self.body(
                input_ids,
                attention_mask,
                decoder_input_ids,
                decoder_attention_mask,
                cache,
                encoder_output,
                output_hidden_states,
            )
            logits = self.scores(out.last_hidden_state[:, -logits_to_keep:])  # -0: is all of them
        return Seq2SeqLMOutput(**vars(out), logits=logits)

    def new_cache(self, batch_size: int, max_length: int) -> Cache:
        """The kind of cache the body needs; max_length counts the decoder's tokens."""
        return self.body.new_cache(batch_size, max_length)

    def initialise(self, generator: torch.Generator, only: Collection[str] | None = None) -> None:
        """First weights: the body's, and the output matrix's where it is one of its own. As PretrainedModel's."""
        self.body.initialise(generator, only)
        if only is None and not self.config.tie_word_embeddings:
            nn.init.normal_(self.head.weight, 0.0, self.body.table_std(), generator=generator)

    def from_hugging_face(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As ModelWithHead's, from folders that hold the one embedding table under several names, too."""
        return super().from_hugging_face(self.body.one_table(tensors))
