"""Greedy decoding with the cache, one text and 16 at once, float32: against transformers' generate, same weights."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
from pathlib import Path

import torch
from torch import nn

from minillm.inference import SamplingParams, generate_batch
from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig
from tests.benchmarks.harness import Row, in_turn, peer_or_none

PROMPT, VOCABULARY, WINDOW = 32, 4096, 512


def gpt2(layers: int, width: int) -> GPT2:
    """A random GPT-2 with heads 64 wide (32 when the model is narrow)."""
    heads = width // 64 if width >= 256 else width // 32
    return GPT2(
        GPT2Config(vocab_size=VOCABULARY, n_positions=WINDOW, n_embd=width, n_layer=layers, n_head=heads)
    ).eval()


def llama(layers: int, width: int) -> Llama:
    """A random Llama of the same size."""
    return Llama(
        LlamaConfig(
            vocab_size=VOCABULARY,
            max_position_embeddings=WINDOW,
            hidden_size=width,
            intermediate_size=8 * width // 3,
            num_hidden_layers=layers,
            num_attention_heads=width // 32 if width < 256 else width // 64,
            tie_word_embeddings=True,
        )
    ).eval()


def spread_out(model: nn.Module) -> nn.Module:
    """The model with larger weights: random ones score near ties; spread out, everyone chooses alike."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(6)
    return model


def run(quick: bool) -> list[Row]:
    """New tokens a second, of all texts together; the tokens of both are compared first."""
    torch.set_num_threads(1)
    transformers = peer_or_none("transformers")
    rows = []
    for name, make, layers, width, batch, target in (
        ("GPT-2", gpt2, 4, 128, 1, 1.6),
        ("GPT-2", gpt2, 6, 384, 1, 1.1),
        ("GPT-2", gpt2, 12, 768, 1, 1.0),
        ("GPT-2", gpt2, 4, 128, 16, 1.2),
        ("GPT-2", gpt2, 6, 384, 16, 1.1),
        ("GPT-2", gpt2, 12, 768, 16, 1.0),
        ("Llama", llama, 4, 128, 1, None),
        ("Llama", llama, 6, 384, 1, None),
        ("Llama", llama, 6, 384, 16, None),
    ):
        new = (32 if quick else 128) if width < 768 else (8 if quick else 32)
        params = SamplingParams(max_tokens=new, temperature=0)
        prompts = [list(range(1 + text, PROMPT + 1 + text)) for text in range(batch)]
        model = spread_out(make(layers, width))

        def ours(model=model, prompts=prompts, params=params):
            return [completion.token_ids for completion in generate_batch(model, prompts, params)]

        calls, note = {"ours": ours}, ""
        if transformers:
            with tempfile.TemporaryDirectory() as folder:
                model.save_pretrained(Path(folder))
                transformers.logging.disable_progress_bar()
                peer = transformers.AutoModelForCausalLM.from_pretrained(folder)
            ids = torch.tensor(prompts)
            options = {"max_new_tokens": new, "do_sample": False, "attention_mask": torch.ones_like(ids)}

            def theirs(peer=peer, ids=ids, options=options):
                return peer.generate(ids, **options, pad_token_id=0)[:, PROMPT:].tolist()

            calls["theirs"] = theirs
            same = sum(a == b for a, b in zip(ours(), theirs(), strict=True))
            note = (
                f"same tokens in {same} of {batch}"
                if batch > 1
                else "same tokens"
                if same
                else "tokens differ"
            )
        seconds = in_turn(calls, rounds=3 if quick else 7)
        speed = {who: batch * new / value for who, value in seconds.items()}
        rows.append(
            Row(
                work=f"greedy decode with cache, {name} {layers}x{width}, batch {batch}, fp32",
                peer="transformers generate",
                unit="tokens/s",
                ours=speed["ours"],
                theirs=speed.get("theirs"),
                target=target,
                note=note,
                spread=seconds.spread("theirs"),
            )
        )
    return rows
