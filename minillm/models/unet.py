"""A small U-Net for diffusion (U-Net, 유넷): a noisy picture, its step t and a wish in; the predicted noise (or v) out.

    x (B, 3, 16, 16) -> unshuffle -> 8x8 -> down -> 4x4, attention -> up -> 8x8 -> shuffle -> (B, 3, 16, 16)
    one block: h + conv(silu((1 + a) norm(conv(silu(norm(h)))) + b)),   (a, b) = W [time(t) + wish]      (FiLM)

The way down sees the whole picture, the skip connections hand the details across to the way up. Pixels are folded into
channels first (unshuffle), so that the costly convolutions run on a quarter of the places. A wish is a row of
attribute numbers (`classes`), each with its own embedding, or a vector (`cond_dim`: an image embedding, DALL-E 2);
each has a learned "no wish", which classifier-free guidance needs.

Book: 14.3.1 diffusion. Papers: Ronneberger et al. 2015; Ho et al. 2020; Perez et al. 2018 (FiLM). Beside diffusers'
UNet2DModel in speed; its weights do not open here. Left out: cross-attention to a text, more than two resolutions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_int, describe
from minillm.models.denoiser import (
    Denoiser,
    check_drop,
    check_dtype,
    check_steps,
    check_time_width,
    time_features,
)
from minillm.nn import attention


@dataclass(frozen=True)
class UNetConfig:
    """Sizes. classes: how many values each attribute of a wish has. cond_dim: the length of a wish that is a vector."""

    channels: int = 3
    patch: int = 2
    widths: tuple[int, int] = (32, 48)
    heads: int = 4
    time_width: int = 64
    classes: tuple[int, ...] = ()
    cond_dim: int = 0

    def __post_init__(self) -> None:
        """Check every field; ValueError naming the one that is wrong."""
        for name in ("channels", "patch", "heads"):
            check_int(name, getattr(self, name), 1)
        check_int("cond_dim", self.cond_dim, 0)
        for name in ("widths", "classes"):
            listed = getattr(self, name)
            if not isinstance(listed, (tuple, list)):
                raise ValueError(f"{name} must be a tuple of whole numbers, got {describe(listed)}")
            object.__setattr__(self, name, tuple(check_int(f"each of {name}", one, 1) for one in listed))
        if len(self.widths) != 2 or any(width % 8 for width in self.widths) or self.widths[1] % self.heads:
            raise ValueError(
                f"widths must be two multiples of 8, the second one of heads={self.heads}, got {self.widths}"
            )
        check_time_width(self.time_width)
        if self.classes and self.cond_dim:
            raise ValueError("a wish is attribute numbers (classes) or a vector (cond_dim), not both")


class ResBlock(nn.Module):
    """Two convolutions and a way round them; `emb` (B, E) scales and shifts what lies between them (FiLM)."""

    def __init__(self, inputs: int, outputs: int, emb: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.film = nn.Linear(emb, 2 * outputs)
        self.norm2, self.conv2 = nn.GroupNorm(8, outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.conv2.weight)  # a new block changes nothing

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))  # (B, outputs, H, W)
        scale, shift = self.film(emb)[:, :, None, None].chunk(2, dim=1)  # (B, outputs, 1, 1) each
        h = self.norm2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(h))


class PictureAttention(nn.Module):
    """Each place of a feature map looks at all others: what stands left may depend on what stands right."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.qkv, self.out = (
            nn.GroupNorm(8, width),
            nn.Linear(width, 3 * width),
            nn.Linear(width, width),
        )
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        B, C, H, W = x.shape
        places = self.norm(x).flatten(2).transpose(1, 2)  # (B, HW, C)
        split = self.qkv(places).reshape(B, H * W, 3, self.heads, C // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)  # (B, heads, HW, C / heads) each
        mixed = attention(q, k, v).transpose(1, 2).reshape(B, H * W, C)
        return x + self.out(mixed).transpose(1, 2).reshape(B, C, H, W)


class Wish(nn.Module):
    """The embedding (B, E) of what is wished for; a row of `drop` (B,) that is True, and None, are "no wish"."""

    def __init__(self, config: UNetConfig, emb: int) -> None:
        super().__init__()
        self.classes, self.cond_dim = config.classes, config.cond_dim
        self.tables = nn.ModuleList(nn.Embedding(n + 1, emb) for n in config.classes)  # the last row: no wish
        self.vector = nn.Linear(config.cond_dim, emb) if config.cond_dim else None
        self.null = nn.Parameter(torch.zeros(emb)) if config.cond_dim else None

    def forward(self, wish: Tensor | None, rows: int, drop: Tensor | None = None) -> Tensor | float:
        if self.vector is not None:
            if wish is None:
                return self.null.expand(rows, -1)
            known = self.vector(wish)
            return known if drop is None else torch.where(drop[:, None], self.null, known)
        if not self.classes:
            return 0.0
        none = torch.tensor(self.classes, device=self.tables[0].weight.device).expand(rows, -1)
        numbers = none if wish is None else torch.where(wish < 0, none, wish)  # (B, attributes)
        if drop is not None:
            numbers = torch.where(drop[:, None], none, numbers)
        return sum(table(numbers[:, i]) for i, table in enumerate(self.tables))

    def check(self, wish: Tensor | None, rows: int) -> None:
        """ValueError if `wish` is not what the config says, one row a picture."""
        if wish is None:
            return
        width = self.cond_dim or len(self.classes)
        form = f"({rows}, {width}) " + (
            "floats" if self.cond_dim else f"whole numbers below {self.classes}, -1: any"
        )
        right = isinstance(wish, Tensor) and wish.shape == (rows, width) and width > 0
        if not right or (wish.is_floating_point() != bool(self.cond_dim)) or wish.dtype == torch.bool:
            raise ValueError(
                f"condition must be {form if width else 'None: this U-Net takes no wish'}, got {describe(wish)}"
            )
        if self.vector is not None:
            check_dtype("condition", wish, self.vector.weight)
        if self.classes:
            top = torch.tensor(self.classes, device=wish.device)
            if bool(((wish < -1) | (wish >= top)).any()):
                raise ValueError(
                    f"condition must be {form}, got {wish.min(0).values.tolist()} to {wish.max(0).values.tolist()}"
                )


class UNet(Denoiser):
    """model(x (B, C, S, S), t (B,) or a number, condition=None, drop=None) -> (B, C, S, S). S divides by 2 · patch."""

    kind, config_class = "U-Net", UNetConfig

    def __init__(self, config: UNetConfig, seed: int = 0) -> None:
        super().__init__(config)
        wide, deep = config.widths
        emb, inner = 2 * config.time_width, config.channels * config.patch**2
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(check_int("seed", seed, 0))
            self.time = nn.Sequential(nn.Linear(config.time_width, emb), nn.SiLU(), nn.Linear(emb, emb))
            self.wish = Wish(config, emb)
            self.enter = nn.Conv2d(inner, wide, 3, padding=1)
            self.down1, self.shrink = ResBlock(wide, wide, emb), nn.Conv2d(wide, deep, 3, stride=2, padding=1)
            self.down2, self.look = ResBlock(deep, deep, emb), PictureAttention(deep, config.heads)
            self.middle = ResBlock(deep, deep, emb)
            self.up2, self.grow = ResBlock(2 * deep, deep, emb), nn.Conv2d(deep, wide, 3, padding=1)
            self.up1 = ResBlock(2 * wide, wide, emb)
            self.norm, self.leave = nn.GroupNorm(8, wide), nn.Conv2d(wide, inner, 3, padding=1)
            nn.init.zeros_(self.leave.weight)

    def forward(
        self, x: Tensor, t: Tensor | int, condition: Tensor | None = None, drop: Tensor | None = None
    ) -> Tensor:
        """What the network says of `x` at step `t`. drop (B,) bool: these rows forget their wish."""
        t = self._check(x, t, condition, drop)
        return self.core(x, t, condition, drop)

    def core(self, x: Tensor, t: Tensor, condition: Tensor | None, drop: Tensor | None) -> Tensor:
        """`forward` after its checks."""
        patch = self.config.patch
        emb = self.time(time_features(t, self.config.time_width).to(x.dtype))
        emb = emb + self.wish(condition, len(x), drop)
        emb = F.silu(emb)  # (B, E)
        h = self.enter(F.pixel_unshuffle(x, patch))  # (B, wide, S/2, S/2)
        wide = self.down1(h, emb)  # skip connection 1
        deep = self.look(self.down2(self.shrink(wide), emb))  # (B, deep, S/4, S/4), skip connection 2
        h = self.middle(deep, emb)
        h = self.up2(torch.cat([h, deep], dim=1), emb)
        h = self.grow(F.interpolate(h, scale_factor=2.0, mode="nearest"))  # (B, wide, S/2, S/2)
        h = self.up1(torch.cat([h, wide], dim=1), emb)
        return F.pixel_shuffle(self.leave(F.silu(self.norm(h))), patch)  # (B, C, S, S)

    def _check(self, x: Tensor, t: Tensor | int, condition: Tensor | None, drop: Tensor | None) -> Tensor:
        C, step = self.config.channels, 2 * self.config.patch
        right = isinstance(x, Tensor) and x.dim() == 4 and x.shape[1] == C and x.is_floating_point()
        if not right or x.shape[2] % step or x.shape[3] % step or not x.numel():
            raise ValueError(
                f"x must be floats (B, {C}, H, W), H and W divisible by {step}, got {describe(x)}"
            )
        check_dtype("x", x, self.enter.weight)
        t = check_steps(t, x)
        self.wish.check(condition, len(x))
        check_drop(drop, len(x))
        return t
