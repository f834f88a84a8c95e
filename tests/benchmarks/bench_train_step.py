"""One training step of a GPT-2 (6 layers x 384, vocabulary 4,096, batch 8 x 256), ours against transformers'.

Forward, loss from the labels, backward and torch's own fused AdamW for both; same weights, same batch, same
targets, one thread. The loss of each side is its own: CausalLMObjective here, GPT2LMHeadModel's there. Ours runs as in
the Trainer, inside `fast_layers`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable

import torch

from minillm.models import GPT2, GPT2Config
from minillm.nn.fast_cpu import fast_layers
from minillm.training import CausalLMObjective
from tests.benchmarks.harness import Row, in_turn, peer_or_none

SIZES = {"vocab_size": 4096, "n_positions": 256, "n_embd": 384, "n_layer": 6, "n_head": 6}


def trainer(model: torch.nn.Module, loss_of: Callable[[], torch.Tensor], bf16: bool) -> Callable[[], float]:
    """A function that makes one step and gives its loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def our_step(ids: torch.Tensor, bf16: bool) -> tuple[GPT2, Callable[[], float]]:
    """Our model and its step. ids: (B, L + 1), of which L places are run and L targets learned."""
    model, objective = GPT2(GPT2Config(**SIZES)).train(), CausalLMObjective()
    batch = {"input_ids": ids, "labels": ids}
    step = trainer(model, lambda: objective(model, batch).loss, bf16)

    def as_in_the_trainer() -> float:
        with fast_layers(model):
            return step()

    return model, as_in_the_trainer


def their_step(transformers, ours: GPT2, ids: torch.Tensor, bf16: bool) -> Callable[[], float]:
    """The step of transformers' model with our weights, on the same L places and targets."""
    off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    config = transformers.GPT2Config(**SIZES, **off, use_cache=False, bos_token_id=0, eos_token_id=0)
    model = transformers.GPT2LMHeadModel(config).train()
    model.load_state_dict(ours.to_hugging_face(ours.state_dict()), strict=False)  # the tied head is implied
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    return trainer(model, lambda: model(inputs, labels=targets, shift_labels=targets).loss, bf16)


def run(quick: bool) -> list[Row]:
    """Tokens a second in float32 and under bfloat16 autocast."""
    torch.set_num_threads(1)
    batch, length = (2, 64) if quick else (8, 256)
    ids = torch.randint(
        0, SIZES["vocab_size"], (batch, length + 1), generator=torch.Generator().manual_seed(0)
    )
    transformers = peer_or_none("transformers")
    rows = []
    for bf16, target in ((False, 1.13), (True, 1.05)):
        model, step = our_step(ids, bf16)
        calls = {"ours": step}
        if transformers:
            calls["theirs"] = their_step(transformers, model, ids, bf16)
        seconds = in_turn(calls, rounds=3 if quick else 7)
        speed = {name: batch * length / value for name, value in seconds.items()}
        precision = "bf16 autocast" if bf16 else "fp32"
        rows.append(
            Row(
                work=f"GPT-2 training step 6x384, vocabulary 4k, batch {batch}x{length}, {precision}",
                peer="transformers",
                unit="tokens/s",
                ours=speed["ours"],
                theirs=speed.get("theirs"),
                target=target,
                spread=seconds.spread("theirs"),
            )
        )
    return rows
