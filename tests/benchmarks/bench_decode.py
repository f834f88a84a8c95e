"""Greedy decoding with the cache, batch 1, float32: ours against transformers' generate on the same weights."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
from pathlib import Path

import torch

from minillm.inference import SamplingParams, generate
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


def run(quick: bool) -> list[Row]:
    """New tokens a second; the tokens of both are compared first."""
    torch.set_num_threads(1)
    new = 32 if quick else 128
    prompt = list(range(1, PROMPT + 1))
    params = SamplingParams(max_tokens=new, temperature=0)
    transformers = peer_or_none("transformers")
    rows = []
    for name, make, layers, width, target in (
        ("GPT-2", gpt2, 4, 128, 1.6),
        ("GPT-2", gpt2, 6, 384, 1.05),
        ("Llama", llama, 4, 128, None),
        ("Llama", llama, 6, 384, None),
    ):
        model = make(layers, width)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 2:
                    parameter.mul_(6)  # random weights score near ties; spread out, both choose alike
        calls = {"ours": lambda model=model: generate(model, prompt, params)}
        note = ""
        if transformers:
            with tempfile.TemporaryDirectory() as folder:
                model.save_pretrained(Path(folder))
                transformers.logging.disable_progress_bar()
                peer = transformers.AutoModelForCausalLM.from_pretrained(folder)
            ids, ones = torch.tensor([prompt]), torch.ones(1, PROMPT, dtype=torch.long)
            options = {"max_new_tokens": new, "do_sample": False, "attention_mask": ones, "pad_token_id": 0}
            calls["theirs"] = lambda peer=peer, ids=ids, options=options: peer.generate(ids, **options)
            same = calls["ours"]() == calls["theirs"]()[0, PROMPT:].tolist()
            note = "same tokens" if same else "tokens differ"
        seconds = in_turn(calls, rounds=3 if quick else 7)
        speed = {who: new / value for who, value in seconds.items()}
        rows.append(
            Row(
                work=f"greedy decode with cache, {name} {layers}x{width}, batch 1, fp32",
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
