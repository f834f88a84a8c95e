"""The transformer of 2017 (트랜스포머): an encoder reads one text, a decoder writes another and looks at what was read.

    embed    x = √C · E[ids] + P                                        one table E for both texts and for the output
    encode   memory = block(... block(embed(source)))                   every token sees the whole source
    decode   logits = block(... block(embed(target), memory)) Eᵀ        a token sees itself, what it follows, and memory

The decoder is trained by teacher forcing (교사 강요): it reads the right target, moved one place to the right (see
`shift_right` in training/), and at each place predicts the token that stands there. To write, `greedy` hands it its
own tokens.

Book 2.5 인코더, 2.6 디코더. Paper: Vaswani et al. 2017. Held against torch.nn.Transformer with the same weights.
This is the paper's network for lessons and experiments: it has no format of Hugging Face's to be stored in (T5 and
BART have), and no cache, so that writing a token reads all earlier ones again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minillm._checks import check_choice, check_flag, check_int, check_number, describe
from minillm.nn import ACTIVATIONS, DecoderBlock, EncoderBlock, LayerNorm, SinusoidalPosition, padding_mask


@dataclass
class TransformerConfig:
    """Sizes, under transformers' names; by default those of the paper's base model.

    pre_norm: norms before attention and feed-forward, and one after the last block; False is the paper's order.
    cross: False leaves the cross-attention out, so that the decoder knows nothing of the source (for comparison).
    ValueError for values that do not fit.
    """

    vocab_size: int
    d_model: int = 512
    encoder_layers: int = 6
    decoder_layers: int = 6
    encoder_attention_heads: int = 8
    decoder_attention_heads: int = 8
    encoder_ffn_dim: int = 2048
    decoder_ffn_dim: int = 2048
    activation_function: str = "relu"
    max_position_embeddings: int = 512
    dropout: float = 0.1
    pre_norm: bool = False
    cross: bool = True
    pad_token_id: int = 0
    decoder_start_token_id: int = 1
    eos_token_id: int = 2

    def __post_init__(self) -> None:
        for name in (
            "vocab_size",
            "d_model",
            "encoder_ffn_dim",
            "decoder_ffn_dim",
            "max_position_embeddings",
        ):
            check_int(name, getattr(self, name), 1)
        for name in ("encoder_layers", "decoder_layers"):
            check_int(name, getattr(self, name), 1)
        for name in ("encoder_attention_heads", "decoder_attention_heads"):
            if self.d_model % check_int(name, getattr(self, name), 1):
                raise ValueError(
                    f"d_model must be divisible by {name}, got {self.d_model} and {getattr(self, name)}"
                )
        for name in ("pad_token_id", "decoder_start_token_id", "eos_token_id"):
            check_int(name, getattr(self, name), 0, self.vocab_size - 1)
        check_choice("activation_function", self.activation_function, tuple(ACTIVATIONS))
        check_number("dropout", self.dropout, 0.0, 1.0)
        check_flag("pre_norm", self.pre_norm), check_flag("cross", self.cross)


class Transformer(nn.Module):
    """Encoder and decoder, with weights from `seed`.

    Two models of one seed that differ in `cross` alone have the same weights wherever both have some.
    """

    def __init__(self, config: TransformerConfig, seed: int = 0):
        super().__init__()
        if not isinstance(config, TransformerConfig):
            raise ValueError(f"config must be a TransformerConfig, got {describe(config)}")
        check_int("seed", seed, 0)
        self.config = config
        with torch.random.fork_rng(devices=[]):  # torch's layers draw weights of their own
            self.build(config)
        self.initialise(torch.Generator().manual_seed(seed))

    def build(self, config: TransformerConfig) -> None:
        """Make the layers."""
        C = config.d_model
        shared = {
            "activation": config.activation_function,
            "pre_norm": config.pre_norm,
            "dropout": config.dropout,
        }
        self.tokens = nn.Embedding(config.vocab_size, C)
        self.positions = SinusoidalPosition(config.max_position_embeddings, C)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = nn.ModuleList(
            EncoderBlock(C, config.encoder_attention_heads, config.encoder_ffn_dim, **shared)
            for _ in range(config.encoder_layers)
        )
        self.decoder = nn.ModuleList(
            DecoderBlock(
                C, config.decoder_attention_heads, config.decoder_ffn_dim, cross=config.cross, **shared
            )
            for _ in range(config.decoder_layers)
        )
        # a pre-norm stack ends with a norm, because its last sum is not normalised; a post-norm stack has its own
        self.encoder_norm = LayerNorm(C) if config.pre_norm else nn.Identity()
        self.decoder_norm = LayerNorm(C) if config.pre_norm else nn.Identity()

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Glorot's uniform numbers for matrices, 0 for biases; E of variance 1/C, so that √C · E has variance 1."""
        self.tokens.weight.normal_(0.0, self.config.d_model**-0.5, generator=generator)
        layers = {name: layer for name, layer in self.named_modules() if isinstance(layer, nn.Linear)}
        for name in sorted(layers, key=lambda name: "cross_attention" in name):  # the cross-attention's last
            nn.init.xavier_uniform_(layers[name].weight, generator=generator)
            layers[name].bias.zero_()

    def embed(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> (B, T, C)."""
        # x = √C · E[ids] + P
        return self.dropout(self.positions(math.sqrt(self.config.d_model) * self.tokens(ids)))

    def encode(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The memory (B, S, C) of a source (B, S) int64. attention_mask (B, S): 1 = token, 0 = padding.

        ValueError for wrong shapes, ids outside the vocabulary, or more than max_position_embeddings tokens.
        """
        self._check("input_ids", input_ids, "attention_mask", attention_mask)
        mask = None if attention_mask is None else padding_mask(attention_mask)  # (B, 1, 1, S)
        x = self.embed(input_ids)
        for block in self.encoder:
            x = block(x, mask)
        return self.encoder_norm(x)

    def decode(
        self,
        decoder_input_ids: Tensor,
        memory: Tensor,
        attention_mask: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, T, V) for what stands at each place of a target, from what stands before it (B, T) int64.

        memory: of `encode`, with the attention_mask (B, S) of the source, which hides its padding from the
        cross-attention. decoder_attention_mask (B, T) hides padding of the target; padding at its end needs none,
        nothing looks at what follows. ValueError as in `encode`.
        """
        self._check("decoder_input_ids", decoder_input_ids, "decoder_attention_mask", decoder_attention_mask)
        self._check_memory(memory, attention_mask, len(decoder_input_ids))
        context = memory if self.config.cross else None
        context_mask = None if attention_mask is None or context is None else padding_mask(attention_mask)
        mask = None if decoder_attention_mask is None else padding_mask(decoder_attention_mask)
        x = self.embed(decoder_input_ids)
        for block in self.decoder:
            x = block(x, context, mask, context_mask)  # causal, then cross
        # logits = x Eᵀ
        return self.decoder_norm(x) @ self.tokens.weight.T

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, T, V): `encode`, then `decode`."""
        memory = self.encode(input_ids, attention_mask)
        return self.decode(decoder_input_ids, memory, attention_mask, decoder_attention_mask)

    @torch.no_grad()
    def greedy(self, input_ids: Tensor, attention_mask: Tensor | None = None, max_tokens: int = 32) -> Tensor:
        """The likeliest token at each step, for every source at once: (B, up to max_tokens) int64.

        A row ends with eos_token_id, padding behind it. The source is read once; the target is read again at
        every step, which a cache would save.
        """
        config = self.config
        check_int("max_tokens", max_tokens, 1, config.max_position_embeddings)
        memory = self.encode(input_ids, attention_mask)
        written = input_ids.new_full((len(input_ids), 1), config.decoder_start_token_id)
        done = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        while written.shape[1] <= max_tokens and not bool(done.all()):
            newest = self.decode(written, memory, attention_mask)[:, -1].argmax(dim=-1)  # (B,)
            newest = newest.masked_fill(done, config.pad_token_id)
            written, done = (
                torch.cat((written, newest[:, None]), dim=1),
                done | (newest == config.eos_token_id),
            )
        return written[:, 1:]

    def _check(self, name: str, ids: Tensor, mask_name: str, mask: Tensor | None) -> None:
        if not isinstance(ids, Tensor) or ids.dtype != torch.int64 or ids.dim() != 2 or not ids.numel():
            raise ValueError(
                f"{name} must be a LongTensor (B, length) of at least one id, got {describe(ids)}"
            )
        low, high = (int(n) for n in ids.aminmax())
        if low < 0 or high >= self.config.vocab_size:
            raise ValueError(f"{name} must lie in 0..{self.config.vocab_size - 1}, got {low}..{high}")
        if ids.shape[1] > self.config.max_position_embeddings:
            raise ValueError(
                f"{name}: {ids.shape[1]} tokens do not fit into {self.config.max_position_embeddings} positions"
            )
        if mask is not None and (not isinstance(mask, Tensor) or mask.shape != ids.shape):
            raise ValueError(
                f"{mask_name} must have the shape of {name} {tuple(ids.shape)}, got {describe(mask)}"
            )

    def _check_memory(self, memory: Tensor, attention_mask: Tensor | None, rows: int) -> None:
        width = self.config.d_model
        if (
            not isinstance(memory, Tensor)
            or memory.dim() != 3
            or (memory.shape[0], memory.shape[2]) != (rows, width)
        ):
            raise ValueError(f"memory must be a float tensor ({rows}, S, {width}), got {describe(memory)}")
        if attention_mask is not None and (
            not isinstance(attention_mask, Tensor) or attention_mask.shape != memory.shape[:2]
        ):
            raise ValueError(
                f"attention_mask must have shape {tuple(memory.shape[:2])}, got {describe(attention_mask)}"
            )
