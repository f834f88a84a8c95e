"""From a text to an image embedding, and what can be done with embeddings before they are drawn (DALL-E 2, unCLIP).

    draw         z = the one of K samples of the prior that lies nearest to the text, K = 2
    blend        z = slerp(z_a, z_b, share)                                   between two pictures
    edit         z = slerp(z_i, norm(z_new - z_old), share)                   "a red star" -> "a blue star"

All vectors are CLIP's: rows of length 1. The decoder, a U-Net whose wish is such a vector, makes the picture
(diffusion.py); with another noise it makes a variation (변형 이미지) of it.

Book: 14.3.2 DALL-E 모델. Paper: Ramesh et al. 2022, sections 2.2 and 3. Held against closed forms (a world
of Gaussians) and geometry (lengths, angles). Left out: the inversion of a picture into its noise, upsamplers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from minillm._checks import check_int, check_number
from minillm.inference.diffusion import Denoiser, ddim_sample, mix_noise
from minillm.models.noise_schedule import NoiseSchedule
from minillm.models.prior import at_noise_scale, check_directions


def prior_schedule() -> NoiseSchedule:
    """The noise levels of the prior: cosine, 1,000 steps, a network that says x_0."""
    return NoiseSchedule(prediction="x0")


@torch.no_grad()
def draw_embeddings(
    prior: Denoiser, text: Tensor, steps: int = 10, guidance: float = 0.0, seed: int = 0, candidates: int = 2
) -> Tensor:
    """One image embedding (N, D) of length 1 for each text vector (N, D).

    candidates: so many are drawn for a text, and the one with the largest cosine to it is kept, as in the paper.
    ValueError for texts that are no floats (N, D), zero or not finite, and for other numbers out of range.
    """
    wish, schedule = at_noise_scale(check_directions("text", text)), prior_schedule()
    check_int("candidates", candidates, 1), check_int("seed", seed, 0)
    noise = torch.randn(candidates, *wish.shape, generator=torch.Generator().manual_seed(seed)).to(wish)
    drawn = [
        ddim_sample(prior, schedule, wish.shape, steps, guidance, 0, wish, noise=x, clip=False) for x in noise
    ]
    drawn = F.normalize(torch.stack(drawn), dim=2)  # (K, N, D)
    fit = (drawn * F.normalize(text, dim=1)).sum(2)  # (K, N), cosines to the text
    return drawn[fit.argmax(0), torch.arange(len(text))]


@torch.no_grad()
def regress_embeddings(network: Denoiser, text: Tensor) -> Tensor:
    """The mean of the image embeddings that fit each text, as a network sees it: one call, nothing is drawn."""
    wish = at_noise_scale(check_directions("text", text))
    return F.normalize(network(torch.zeros_like(wish), prior_schedule().steps - 1, wish), dim=1)


def blend_embeddings(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Rows (N, D) of length 1, `share` of the way from those of `a` to those of `b` along the sphere.

    ValueError for rows without direction, for another number or type of them, and for two that are opposite.
    """
    check_directions("b", b, check_directions("a", a).shape[1])
    check_number("share", share, 0, 1)
    if len(a) != len(b) or a.dtype != b.dtype:
        raise ValueError(
            f"a and b must have equally many rows of one type, got {len(a)} {a.dtype}, {len(b)} {b.dtype}"
        )
    a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
    if bool(((a + b).norm(dim=1) < 1e-3).any()):
        raise ValueError("a and b must not be opposite: no way between them is the shortest")
    pairs = zip(a, b, strict=True)
    return torch.stack([mix_noise(one, other, share) for one, other in pairs])


def edit_embeddings(image: Tensor, new: Tensor, old: Tensor, share: float = 0.4) -> Tensor:
    """The image embeddings (N, D), turned by `share` towards what the text `new` says and the text `old` does not.

    new, old: text vectors (N, D), or (1, D) for all. ValueError where both say the same: there is no way to go.
    """
    for name, one in {"image": image, "new": new, "old": old}.items():
        check_directions(name, one, None if name == "image" else image.shape[1])
        if len(one) not in (len(image), 1):
            raise ValueError(f"{name} must have {len(image)} rows, or one, got {len(one)}")
    way = F.normalize(new, dim=1) - F.normalize(old, dim=1)  # (N, D) or (1, D)
    if bool((way.norm(dim=1) < 1e-6).any()):
        raise ValueError("new and old must say different things: their difference has no direction")
    return blend_embeddings(image, way.expand(len(image), -1), share)
