"""One training step of a GPT-2 (6 layers x 384, vocabulary 4,096, batch 8 x 256), ours against transformers'.

Forward, loss, backward and torch's own fused AdamW for both; same weights, same batch, one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F

from minillm.models import GPT2, GPT2Config
from tests.benchmarks.harness import Row, in_turn, peer_or_none

SIZES = {"vocab_size": 4096, "n_positions": 256, "n_embd": 384, "n_layer": 6, "n_head": 6}


def trainer(model: torch.nn.Module, ids: torch.Tensor, bf16: bool):
    """A function that makes one step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(ids[:, :-1]).logits
        loss = F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def run(quick: bool) -> list[Row]:
    """Tokens a second in float32 and under bfloat16 autocast."""
    torch.set_num_threads(1)
    batch, length = (2, 64) if quick else (8, 256)
    ids = torch.randint(
        0, SIZES["vocab_size"], (batch, length + 1), generator=torch.Generator().manual_seed(0)
    )
    transformers = peer_or_none("transformers")
    rows = []
    for bf16, target in ((False, 1.15), (True, 1.0)):
        calls = {"ours": trainer(GPT2(GPT2Config(**SIZES)).train(), ids, bf16)}
        if transformers:
            off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
            config = transformers.GPT2Config(**SIZES, **off, use_cache=False, bos_token_id=0, eos_token_id=0)
            calls["theirs"] = trainer(transformers.GPT2LMHeadModel(config).train(), ids, bf16)
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
            )
        )
    return rows
