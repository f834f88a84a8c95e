"""What a transformer is stacked from (인코더, 디코더): attention mixes tokens, feed-forward thinks, residuals carry.

    pre-norm      x = x + f(norm(x))    GPT-2, Llama: the residual path is never normalised, deep stacks train
    post-norm     x = norm(x + f(x))    the 2017 paper, BERT

Book 2.4 정규화와 피드 포워드 층, 2.5 인코더, 2.6 디코더. Papers: Vaswani et al. 2017; Xiong et al. 2020 (pre-norm).
Held against torch's TransformerEncoderLayer and TransformerDecoderLayer. Norms and feed-forward: layers.py.
The residual is always x as it came in: adding the normalised x instead is a common slip, and another network.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from minillm._checks import check_flag, check_number, describe
from minillm.nn.attention import MultiHeadAttention
from minillm.nn.cache import Cache
from minillm.nn.layers import FeedForward, LayerNorm
from minillm.nn.positions import Position


def _same(x: Tensor) -> Tensor:
    """No dropout; a function, because a module's call costs a small model's token as much as a small product."""
    return x


class EncoderBlock(nn.Module):
    """Self-attention over the whole text, then feed-forward, each with its norm and residual.

    hidden: width of the feed-forward (4C). pre_norm: see above. norm: called with the width. attention and
    feed_forward: ready-made parts in place of the default MultiHeadAttention and FeedForward. dropout: on
    what each part adds, while training.
    """

    causal = False

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int | None = None,
        *,
        pre_norm: bool = True,
        activation: str = "gelu",
        norm: Callable[[int], nn.Module] = LayerNorm,
        attention: MultiHeadAttention | None = None,
        feed_forward: nn.Module | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.pre_norm = check_flag("pre_norm", pre_norm)
        _check_parts(attention=attention, feed_forward=feed_forward)
        if not callable(norm):
            raise ValueError(f"norm must be called with the width and give a layer, got {describe(norm)}")
        self.attention = attention or MultiHeadAttention(width, heads, causal=self.causal)
        self.feed_forward = feed_forward or FeedForward(width, hidden, activation)
        self.norm1, self.norm2 = norm(width), norm(width)
        self.dropout = nn.Dropout(dropout) if check_number("dropout", dropout, 0.0, 1.0) else _same

    def forward(
        self, x: Tensor, mask: Tensor | None = None, positions: int | Tensor | Position | None = None
    ) -> Tensor:
        """x (B, T, C) -> (B, T, C); mask: bool, broadcastable to (B, H, T, T), True = may attend."""
        drop = self.dropout
        if self.pre_norm:
            x = x + drop(self.attention(self.norm1(x), mask=mask, positions=positions))
            return x + drop(self.feed_forward(self.norm2(x)))
        x = self.norm1(x + drop(self.attention(x, mask=mask, positions=positions)))
        return self.norm2(x + drop(self.feed_forward(x)))


class DecoderBlock(EncoderBlock):
    """Causal self-attention, with `cross=True` attention to an encoder's output, then feed-forward.

    The arguments are EncoderBlock's; a ready-made `attention` must be causal itself. cross_attention: a ready-made
    layer in place of the default one, which stands for cross=True.
    """

    causal = True

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int | None = None,
        *,
        cross: bool = False,
        cross_attention: MultiHeadAttention | None = None,
        norm: Callable[[int], nn.Module] = LayerNorm,
        **options,
    ):
        super().__init__(width, heads, hidden, norm=norm, **options)
        _check_parts(cross_attention=cross_attention)
        if check_flag("cross", cross) and cross_attention is None:
            cross_attention = MultiHeadAttention(width, heads)
        self.cross_attention = cross_attention
        self.norm3 = None if cross_attention is None else norm(width)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        cache: Cache | None = None,
        positions: int | Tensor | Position | None = None,
    ) -> Tensor:
        """x (B, T, C) -> (B, T, C).

        context: the encoder's output (B, S, C), needed exactly when the block has cross-attention.
        mask, context_mask: bool, broadcastable to (B, H, T, T or S), True = may attend; causal comes on top.
        cache, positions: as in MultiHeadAttention. ValueError when context and cross-attention disagree.
        """
        if (context is None) != (self.cross_attention is None):
            raise ValueError("a context is given exactly to a block made with cross=True or cross_attention")
        drop = self.dropout
        if self.pre_norm:
            x = x + drop(self.attention(self.norm1(x), mask=mask, cache=cache, positions=positions))
            if context is not None:
                x = x + drop(self.cross_attention(self.norm3(x), context, context_mask, cache))
            return x + drop(self.feed_forward(self.norm2(x)))
        x = self.norm1(x + drop(self.attention(x, mask=mask, cache=cache, positions=positions)))
        if context is not None:
            x = self.norm3(x + drop(self.cross_attention(x, context, context_mask, cache)))
        return self.norm2(x + drop(self.feed_forward(x)))


def _check_parts(**parts: nn.Module | None) -> None:
    for name, part in parts.items():
        if part is not None and not isinstance(part, nn.Module):
            raise ValueError(f"{name} must be a torch module or None, got {describe(part)}")
