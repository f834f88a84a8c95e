"""Encoder and decoder blocks (인코더, 디코더): attention mixes tokens, feed-forward thinks, residuals carry.

    pre-norm   x = x + f(norm(x))    GPT-2, Llama: the residual path is never normalised, deep stacks train
    post-norm  x = norm(x + f(x))    the 2017 paper, BERT

Book 2.5 인코더, 2.6 디코더. Papers: Vaswani et al. 2017; Xiong et al. 2020 (pre-norm).
Held against torch.nn.TransformerEncoderLayer and TransformerDecoderLayer.
The residual is always x as it came in: adding the normalised x instead is a common slip, and another network.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from minillm._checks import check_flag, check_number, describe
from minillm.nn.feed_forward import FeedForward
from minillm.nn.multi_head import Cache, MultiHeadAttention
from minillm.nn.norms import LayerNorm


def _same(x: Tensor) -> Tensor:
    """No dropout."""
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
        for name, part in (("attention", attention), ("feed_forward", feed_forward)):
            if part is not None and not isinstance(part, nn.Module):
                raise ValueError(f"{name} must be a torch module or None, got {describe(part)}")
        if not callable(norm):
            raise ValueError(f"norm must be called with the width and give a layer, got {describe(norm)}")
        self.attention = attention or MultiHeadAttention(width, heads, causal=self.causal)
        self.feed_forward = feed_forward or FeedForward(width, hidden, activation)
        self.norm1, self.norm2 = norm(width), norm(width)
        self.dropout = nn.Dropout(dropout) if check_number("dropout", dropout, 0.0, 1.0) else _same

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, T, C) -> (B, T, C); mask: bool, broadcastable to (B, H, T, T), True = may attend."""
        if self.pre_norm:
            x = x + self.dropout(self.attention(self.norm1(x), mask=mask))
            return x + self.dropout(self.feed_forward(self.norm2(x)))
        x = self.norm1(x + self.dropout(self.attention(x, mask=mask)))
        return self.norm2(x + self.dropout(self.feed_forward(x)))


class DecoderBlock(EncoderBlock):
    """Causal self-attention, with `cross=True` attention to an encoder's output, then feed-forward.

    The arguments are EncoderBlock's; a ready-made `attention` must be causal itself.
    """

    causal = True

    def __init__(self, width: int, heads: int, hidden: int | None = None, *, cross: bool = False, **options):
        super().__init__(width, heads, hidden, **options)
        self.cross_attention = MultiHeadAttention(width, heads) if check_flag("cross", cross) else None
        self.norm3 = options.get("norm", LayerNorm)(width) if cross else None

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        cache: Cache | None = None,
        positions: int | Tensor | None = None,
    ) -> Tensor:
        """x (B, T, C) -> (B, T, C).

        context: the encoder's output (B, S, C), needed exactly when the block was made with cross=True.
        mask, context_mask: bool, broadcastable to (B, H, T, T or S), True = may attend; causal comes on top.
        cache, positions: as in MultiHeadAttention. ValueError when context and cross disagree.
        """
        if (context is None) != (self.cross_attention is None):
            raise ValueError("a context is given exactly to a block made with cross=True")
        drop = self.dropout
        if self.pre_norm:
            x = x + drop(self.attention(self.norm1(x), mask=mask, cache=cache, positions=positions))
            if context is not None:
                x = x + drop(self.cross_attention(self.norm3(x), context, context_mask))
            return x + drop(self.feed_forward(self.norm2(x)))
        x = self.norm1(x + drop(self.attention(x, mask=mask, cache=cache, positions=positions)))
        if context is not None:
            x = self.norm3(x + drop(self.cross_attention(x, context, context_mask)))
        return self.norm2(x + drop(self.feed_forward(x)))
