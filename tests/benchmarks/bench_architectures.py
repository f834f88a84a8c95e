"""Training step and prefill of each architecture at 6x384 and 12x768 (layers x width), ours against transformers'.

    training step    forward, loss from the labels, backward, torch's own fused AdamW; batch 4 x 128, vocabulary 4,096
    prefill          one forward pass without gradient, in evaluation mode; 1 x 512 tokens

Float32, one thread, same weights, same batch, no dropout. The loss of each side is its own. Ours runs as in the
Trainer and in generation, inside `fast_layers`. An architecture is one function of ARCHITECTURES:
(layers, width) -> Sides.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm.models import T5, BERTConfig, BERTForMaskedLM, Llama, LlamaConfig, T5Config
from minillm.nn.fast_cpu import fast_layers
from minillm.training import CausalLMObjective
from tests.benchmarks.harness import Row, in_turn, peer_or_none

VOCABULARY = 4096
SIZES = ((6, 384), (12, 768))  # layers, width; heads are 64 wide
Loss = Callable[[nn.Module, Tensor], Tensor]


class Sides(NamedTuple):
    """An architecture on both sides. loss(model, ids): of a training step; forward(model, ids): a prefill.

    peer: the names of transformers' config and model, and the config's fields.
    """

    ours: nn.Module
    loss: Loss
    forward: Callable[[nn.Module, Tensor], Any]
    peer: tuple[str, str, dict[str, Any]]
    peer_loss: Loss
    peer_forward: Callable[[Any, Tensor], Any]


def bert(layers: int, width: int) -> Sides:
    """BERT that learns masked words: 15 % of the tokens are masked and asked for."""
    sizes = {
        "vocab_size": VOCABULARY, "hidden_size": width, "num_hidden_layers": layers, "intermediate_size": 4 * width,
        "num_attention_heads": width // 64, "max_position_embeddings": 512,
    }  # fmt: skip
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

    def masked(ids: Tensor) -> tuple[Tensor, Tensor]:
        ids = ids[:, 1:]
        hidden = torch.rand(ids.shape, generator=torch.Generator().manual_seed(1)) < 0.15
        return ids.masked_fill(hidden, 3), ids.masked_fill(~hidden, -100)

    def loss(model: nn.Module, ids: Tensor) -> Tensor:
        inputs, labels = masked(ids)
        return F.cross_entropy(model(inputs).logits.flatten(0, 1), labels.flatten())

    def peer_loss(model: nn.Module, ids: Tensor) -> Tensor:
        inputs, labels = masked(ids)
        return model(inputs, labels=labels).loss

    ours = BERTForMaskedLM(BERTConfig(**sizes))
    return Sides(ours, loss, nn.Module.__call__, ("BertConfig", "BertForMaskedLM", sizes | off), peer_loss,
                 nn.Module.__call__)  # fmt: skip


def llama(layers: int, width: int) -> Sides:
    """Llama that learns the next token: SwiGLU of 8/3 the width, as many key heads as query heads."""
    sizes = {
        "vocab_size": VOCABULARY, "hidden_size": width, "num_hidden_layers": layers,
        "intermediate_size": 8 * width // 3, "num_attention_heads": width // 64, "max_position_embeddings": 512,
    }  # fmt: skip
    objective = CausalLMObjective()
    return Sides(
        Llama(LlamaConfig(**sizes)),
        lambda model, ids: objective(model, {"input_ids": ids, "labels": ids}).loss,
        lambda model, ids: model(ids, logits_to_keep=1),
        ("LlamaConfig", "LlamaForCausalLM", sizes | {"use_cache": False}),
        lambda model, ids: model(ids[:, :-1], labels=ids[:, 1:], shift_labels=ids[:, 1:].contiguous()).loss,
        lambda model, ids: model(ids, logits_to_keep=1),
    )


def t5(layers: int, width: int) -> Sides:
    """T5 with gated GELU that learns to say what it has read; it reads the text of a prefill and writes an eighth.

    So many layers in the encoder, and as many in the decoder.
    """
    sizes = {
        "vocab_size": VOCABULARY, "d_model": width, "num_layers": layers, "d_ff": 8 * width // 3, "d_kv": 64,
        "num_heads": width // 64, "feed_forward_proj": "gated-gelu",
    }  # fmt: skip

    def loss(model: nn.Module, ids: Tensor) -> Tensor:
        logits = model(ids[:, 1:], decoder_input_ids=ids[:, :-1]).logits
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    def peer_loss(model: nn.Module, ids: Tensor) -> Tensor:
        labels = ids[:, 1:].contiguous()
        return model(input_ids=labels, decoder_input_ids=ids[:, :-1], labels=labels).loss

    def forward(model: nn.Module, ids: Tensor) -> Any:
        return model(input_ids=ids, decoder_input_ids=ids[:, : ids.shape[1] // 8])

    return Sides(
        T5(T5Config(**sizes)),
        loss,
        forward,
        ("T5Config", "T5ForConditionalGeneration", sizes | {"dropout_rate": 0.0, "use_cache": False}),
        peer_loss,
        forward,
    )


ARCHITECTURES: dict[str, Callable[[int, int], Sides]] = {"BERT": bert, "Llama": llama, "T5": t5}


def peer_model(transformers: Any, sides: Sides) -> nn.Module:
    """transformers' model with our weights."""
    config, model, fields = sides.peer
    theirs = getattr(transformers, model)(getattr(transformers, config)(**fields))
    weights = sides.ours.to_hugging_face(sides.ours.state_dict())
    wrong = theirs.load_state_dict(weights, strict=False)
    tied = set(theirs.state_dict()) - set(weights)  # a tied matrix is implied
    assert not wrong.unexpected_keys
    assert set(wrong.missing_keys) <= tied
    return theirs


def training_step(model: nn.Module, loss: Loss, ids: Tensor) -> Callable[[], float]:
    """A function that makes one step and gives its loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> float:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        value = loss(model, ids)
        value.backward()
        optimizer.step()
        return value.item()

    return step


def inside_fast_layers(model: nn.Module, step: Callable[[], Any]) -> Callable[[], Any]:
    """The step as the Trainer makes it, or the prefill as generation does."""

    def call() -> Any:
        with fast_layers(model):
            return step()

    return call


def prefill(model: nn.Module, forward: Callable[[Any, Tensor], Any], ids: Tensor) -> Callable[[], Any]:
    """A function that makes one forward pass."""

    def call() -> Any:
        model.eval()
        with torch.no_grad():
            return forward(model, ids)

    return call


def run(quick: bool) -> list[Row]:
    """Tokens a second of both, for every architecture and size; quick: a small model, to see that all of it runs."""
    torch.set_num_threads(1)
    transformers = peer_or_none("transformers")
    generator, rows = torch.Generator().manual_seed(0), []
    train_ids, ids = (
        torch.randint(4, VOCABULARY, shape, generator=generator)
        for shape in (((2, 33), (1, 64)) if quick else ((4, 129), (1, 512)))
    )
    for name, make in ARCHITECTURES.items():
        for layers, width in ((2, 128),) if quick else SIZES:
            sides = make(layers, width)
            train = {"ours": inside_fast_layers(sides.ours, training_step(sides.ours, sides.loss, train_ids))}
            fill = {"ours": inside_fast_layers(sides.ours, prefill(sides.ours, sides.forward, ids))}
            if transformers:
                theirs = peer_model(transformers, sides)
                fill["theirs"] = prefill(theirs, sides.peer_forward, ids)
                train["theirs"] = training_step(theirs, sides.peer_loss, train_ids)
                with torch.no_grad():
                    losses = sides.loss(sides.ours, train_ids), sides.peer_loss(theirs, train_ids)
                torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-4)  # both do the same work
            for work, calls, tokens in (
                ("prefill", fill, ids.numel()),
                ("training step", train, train_ids.shape[0] * (train_ids.shape[1] - 1)),
            ):
                times = in_turn(calls, rounds=3 if quick else 5 if width > 500 else 9)
                speed = {side: tokens / seconds for side, seconds in times.items()}
                rows.append(
                    Row(
                        work=f"{name} {work} {layers}x{width}, fp32",
                        peer="transformers",
                        unit="tokens/s",
                        ours=speed["ours"],
                        theirs=speed.get("theirs"),
                        target=1.0,
                        spread=times.spread("theirs"),
                    )
                )
    return rows
