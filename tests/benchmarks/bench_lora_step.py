"""One training step with LoRA: ours against peft, on the very same model, and on transformers' with the same weights.

Rank 8 on all seven linear layers of a Llama's blocks, forward, loss, backward and torch's own fused AdamW for both;
same weights, same batch, one thread. Ours runs as in the Trainer, inside `fast_layers`; so does peft's on our model.
SmolLM2-135M (`minillm fetch smollm2`) by the recipe of lora_quality.py: the last 15 blocks, loss on answers alone;
transformers' model makes the logits of all places.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import copy
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from minillm.data.real_models import available, fetch
from minillm.models import Llama, LlamaConfig, load_model
from minillm.nn.fast_cpu import fast_layers
from minillm.training import CausalLMObjective, SFTObjective, apply_lora
from tests.benchmarks.harness import Row, in_turn, peer_or_none

SIZES = {"vocab_size": 1024, "hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 6,
         "num_attention_heads": 6, "max_position_embeddings": 512}  # fmt: skip
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
RANK, ALPHA = 8, 16


def stepper(model: nn.Module, loss_of: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """A function that makes one step of what can learn."""
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with fast_layers(model):
            loss_of().backward()
        optimizer.step()

    return step


def peft_on(peft: Any, model: nn.Module, layers: Iterable[int] | None = None) -> nn.Module:
    """The same adapter by peft."""
    numbers = None if layers is None else list(layers)
    config = peft.LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=list(LAYERS), layers_to_transform=numbers
    )
    return peft.get_peft_model(model, config).train()


def answer_batch(vocabulary: int, rows: int, length: int, asked: int) -> dict[str, torch.Tensor]:
    """Ids, and as labels the answers: all but the first `asked` of each row."""
    ids = torch.randint(0, vocabulary, (rows, length), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[:, :asked] = -100
    return {"input_ids": ids, "labels": labels}


def small(peft: Any, transformers: Any, quick: bool) -> list[Row]:
    """A Llama of 6 layers x 384: on our model, and on transformers'."""
    rows, length = (2, 64) if quick else (8, 128)
    batch, objective = answer_batch(SIZES["vocab_size"], rows, length + 1, 0), CausalLMObjective()
    base = Llama(LlamaConfig(**SIZES), seed=1)
    ours = apply_lora(copy.deepcopy(base), RANK, ALPHA, LAYERS).train()
    calls = {"ours": stepper(ours, lambda: objective(ours, batch).loss)}
    if peft:
        same = peft_on(peft, copy.deepcopy(base))
        calls["peft on the same model"] = stepper(same, lambda: objective(same, batch).loss)
    if peft and transformers:
        calls["peft on transformers' model"] = theirs(peft, transformers, base, batch)
    work = f"LoRA training step, Llama 6x384, r={RANK} on all seven linear layers, batch {rows}x{length}"
    return compared(
        work, calls, rows * length, ("peft on the same model", "peft on transformers' model"), quick
    )


def smollm2(peft: Any, transformers: Any, quick: bool) -> list[Row]:
    """The recipe of lora_quality.py."""
    if not available("smollm2"):
        print("  skipped: SmolLM2 is not here (minillm fetch smollm2)")
        return []
    rows, length = (1, 24) if quick else (8, 96)
    base = load_model(fetch("smollm2"), dtype=torch.float32)
    last = range(15, base.config.num_hidden_layers)
    batch, objective = answer_batch(base.config.vocab_size, rows, length + 1, length // 2), SFTObjective()
    calls = {}
    if peft and transformers:
        calls["peft on transformers' model"] = theirs(peft, transformers, base, batch, last)
    ours = apply_lora(base, RANK, ALPHA, LAYERS, layers_to_transform=last).train()
    calls = {"ours": stepper(ours, lambda: objective(ours, batch).loss), **calls}
    work = f"LoRA training step, SmolLM2-135M, r={RANK} in the last 15 blocks, batch {rows}x{length}, answers half"
    return compared(work, calls, rows * length, ("peft on transformers' model",), quick)


def theirs(
    peft: Any, transformers: Any, base: nn.Module, batch: Any, layers: Any = None
) -> Callable[[], None]:
    """The step of transformers' model with our weights."""
    with tempfile.TemporaryDirectory() as folder:
        base.save_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = peft_on(peft, model, layers)
    ids, targets = batch["input_ids"][:, :-1].contiguous(), batch["labels"][:, 1:].contiguous()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        model(input_ids=ids, labels=targets, shift_labels=targets, use_cache=False).loss.backward()
        optimizer.step()

    return step


def compared(work: str, calls: dict[str, Any], tokens: int, peers: tuple[str, ...], quick: bool) -> list[Row]:
    """Rows of tokens a second."""
    seconds = in_turn(calls, rounds=2 if quick else 9)
    return [
        Row(
            work=work,
            peer=peer,
            unit="tokens/s",
            ours=tokens / seconds["ours"],
            theirs=tokens / seconds[peer] if peer in seconds else None,
            target=1.0,
            spread=seconds.spread(peer),
        )
        for peer in peers
    ]


def run(quick: bool) -> list[Row]:
    """Tokens a second."""
    torch.set_num_threads(1)
    peft, transformers = peer_or_none("peft"), peer_or_none("transformers")
    return [*small(peft, transformers, quick), *smollm2(peft, transformers, quick)]
