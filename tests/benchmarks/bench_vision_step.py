"""A training step of ViT and of CLIP (6 layers x 384 in each tower, pictures of 64 pixels), ours against transformers'.

ViT names one of ten classes (65 tokens a picture); CLIP tells the pairs of a batch apart (captions of 32 tokens). Same
weights, same batch, no dropout, torch's own fused AdamW for both, one thread. A step is all of it: forward, loss,
backward, update. The loss of each side is its own; before anything is timed both must be equal, and after one step as
well. Ours runs as in the Trainer, inside `fast_layers`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from minillm.models import CLIP, CLIPConfig
from minillm.models.vit import ViTConfig, ViTForImageClassification
from minillm.nn.fast_cpu import fast_layers
from minillm.training import clip_loss
from tests.benchmarks.harness import Row, in_turn, peer_or_none

TOWER = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6, "intermediate_size": 1536}
PICTURE = {"image_size": 64, "patch_size": 8}
WORDS = {"vocab_size": 4096, "max_position_embeddings": 32, "bos_token_id": 4094, "eos_token_id": 4095}
CLOSE = 1e-4  # of two builds of the same layers, in float32
Loss = Callable[[], torch.Tensor]


def stepper(model: torch.nn.Module, loss_of: Loss) -> Callable[[], float]:
    """A function that makes one step and gives the loss before it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def opened(ours: Any, transformers: Any, kind: str) -> torch.nn.Module:
    """Our model's folder, opened by transformers' class of that name."""
    with tempfile.TemporaryDirectory() as folder:
        ours.save_pretrained(folder)
        return getattr(transformers, kind).from_pretrained(folder, attn_implementation="sdpa").train()


def vit(transformers: Any, batch: int) -> tuple[torch.nn.Module, Loss, torch.nn.Module | None, Loss | None]:
    """(ours, its loss, theirs, its loss) of pictures and classes."""
    draw = torch.Generator().manual_seed(0)
    pixels, labels = torch.randn(batch, 3, 64, 64, generator=draw), torch.arange(batch) % 10
    ours = ViTForImageClassification(ViTConfig(**TOWER, **PICTURE, num_labels=10)).train()
    our_loss = lambda: F.cross_entropy(ours(pixels).logits, labels)  # noqa: E731
    if not transformers:
        return ours, our_loss, None, None
    theirs = opened(ours, transformers, "ViTForImageClassification")
    return ours, our_loss, theirs, lambda: theirs(pixels, labels=labels).loss


def clip(transformers: Any, batch: int) -> tuple[torch.nn.Module, Loss, torch.nn.Module | None, Loss | None]:
    """The same of pictures and captions; a third of a caption is padding."""
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randn(batch, 3, 64, 64, generator=draw)
    ids, mask = torch.randint(0, 4094, (batch, 32), generator=draw), torch.ones(batch, 32, dtype=torch.int64)
    ids[:, 0], ids[:, 21:], mask[:, 22:] = 4094, 4095, 0
    vision, text = TOWER | PICTURE, TOWER | WORDS
    ours = CLIP(CLIPConfig(text_config=text, vision_config=vision, projection_dim=256)).train()
    our_loss = lambda: clip_loss(  # noqa: E731
        ours.encode_image(pixels), ours.encode_text(ids, mask), ours.logit_scale
    )
    if not transformers:
        return ours, our_loss, None, None
    theirs = opened(ours, transformers, "CLIPModel")
    given = {"input_ids": ids, "pixel_values": pixels, "attention_mask": mask, "return_loss": True}
    return ours, our_loss, theirs, lambda: theirs(**given).loss


def compare(name: str, sides: Callable, transformers: Any, batch: int, rounds: int) -> Row:
    """Pictures a second."""
    ours, our_loss, theirs, their_loss = sides(transformers, batch)
    step = stepper(ours, our_loss)

    def as_in_the_trainer() -> float:
        with fast_layers(ours):
            return step()

    calls = {"ours": as_in_the_trainer}
    if theirs is not None:
        calls["transformers"] = stepper(theirs, their_loss)
    for when in ("before the first step", "after it"):
        losses = {side: call() for side, call in calls.items()}
        if max(losses.values()) - min(losses.values()) > CLOSE:
            raise AssertionError(f"{name}: the losses differ {when}: {losses}")
    times = in_turn(calls, rounds=rounds)
    their_rate = batch / times["transformers"] if theirs is not None else None
    return Row(
        f"{name} training step, 6x384, {batch} pictures of 64 pixels", "transformers", "pictures/s",
        batch / times["ours"], their_rate, target=1.0, spread=times.spread("transformers"),
    )  # fmt: skip


def run(quick: bool) -> list[Row]:
    """Both models."""
    torch.set_num_threads(1)
    transformers = peer_or_none("transformers")
    batch, rounds = (4, 3) if quick else (16, 9)
    kinds = {"ViT": vit, "CLIP": clip}
    return [compare(name, sides, transformers, batch, rounds) for name, sides in kinds.items()]
