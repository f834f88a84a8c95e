"""What CLIP is good for without one more step of training: a class is a sentence, and search is a comparison.

    vector of a class = mean over templates of v("a photo of a {name}") / ‖·‖     an ensemble of prompts
    probabilities     = softmax(exp(logit_scale) · u · vectors of the classes)

Book 14.2.3 CLIP 모델의 활용과 뛰어난 성능. Paper: Radford et al. 2021, section 3.1. Peer: transformers' pipeline
"zero-shot-image-classification" (one template). Left out: choosing templates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from minillm._checks import check_int, describe, is_listing
from minillm.models.clip_pair import CLIP
from minillm.tokenizer.base import Tokenizer


def text_ids(tokenizer: Tokenizer, texts: Sequence[str], longest: int) -> tuple[Tensor, Tensor]:
    """Captions as (input_ids, attention_mask), both (B, T) int64, with begin and end; what is longer is cut."""
    if isinstance(texts, str) or not isinstance(texts, Iterable) or not len(texts := list(texts)):
        raise ValueError(f"texts must be a list of captions, got {describe(texts)}")
    batch = tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
    return batch["input_ids"], batch["attention_mask"]


@torch.no_grad()
def caption_vectors(
    model: CLIP, tokenizer: Tokenizer, texts: Sequence[str], batch_size: int = 256
) -> NDArray:
    """Captions -> vectors (B, D) float32 of length 1, ready for a vector store."""
    check_int("batch_size", batch_size, 1)
    ids, mask = text_ids(tokenizer, texts, model.config.max_length)
    parts = [model.encode_text(i, m) for i, m in zip(ids.split(batch_size), mask.split(batch_size))]
    return torch.cat(parts).float().numpy()


@torch.no_grad()
def picture_vectors(model: CLIP, images: Tensor | NDArray, batch_size: int = 256) -> NDArray:
    """Pictures (P, 3, S, S) as the model takes them -> vectors (P, D) float32 of length 1.

    ValueError for what are no pictures of its size, and for a pixel that is no number.
    """
    check_int("batch_size", batch_size, 1)
    if not isinstance(images, (Tensor, np.ndarray)) or not images.ndim or not len(images):
        raise ValueError(f"images must be pictures (P, 3, S, S), got {describe(images)}")
    images = torch.as_tensor(images)
    if not bool(images.isfinite().all()):
        raise ValueError("images must hold numbers alone, got NaN or infinity")
    return torch.cat([model.encode_image(part) for part in images.split(batch_size)]).float().numpy()


def class_vectors(
    model: CLIP, tokenizer: Tokenizer, names: Sequence[str], templates: Sequence[str]
) -> NDArray:
    """One vector of length 1 a class, (K, D): the mean of its vectors under every template ("a photo of a {}").

    ValueError for names that are no list of texts, and for a template without a place for the name.
    """
    names, templates = check_prompts(names, templates)
    vectors = [
        caption_vectors(model, tokenizer, [t.replace("{}", name) for name in names]) for t in templates
    ]
    return F.normalize(torch.from_numpy(np.mean(vectors, axis=0)), dim=1).numpy()


def check_prompts(names: Any, templates: Any) -> tuple[list[str], list[str]]:
    """Both as lists; ValueError as `class_vectors` says it."""
    classes, prompts = (list(one) if is_listing(one) else [] for one in (names, templates))
    if not classes or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"names must be a list of texts, one a class, got {describe(names)}")
    if not prompts:
        raise ValueError(f"templates must be a list of texts with {{}} in them, got {describe(templates)}")
    for template in prompts:
        if not isinstance(template, str) or "{}" not in template:
            raise ValueError(f"a template must have {{}} where the name goes, got {describe(template)}")
    return classes, prompts


def zero_shot(
    model: CLIP,
    tokenizer: Tokenizer,
    images: Tensor | NDArray,
    names: Sequence[str],
    templates: Sequence[str],
) -> NDArray:
    """Probabilities (P, K) that each picture is of each class; nothing is trained. ValueError for a bad template."""
    classes = class_vectors(model, tokenizer, names, templates)
    scores = model.logit_scale.exp().item() * picture_vectors(model, images) @ classes.T  # (P, K)
    return torch.from_numpy(scores).softmax(1).numpy()
