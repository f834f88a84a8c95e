"""A step of fine-tuning a sentence encoder with MNR loss (multiple negatives ranking), ours against the peer's.

A BERT of 4 layers x 256 with drawn weights, and a batch of 32 Korean questions with the articles that answer them,
whole and in pieces of 8 by gradient caching (theirs: CachedMultipleNegativesRankingLoss). Same weights, same texts,
torch's own AdamW for both, one thread; dropout off, or its draws would be compared. A step is all of it: forward, loss,
backward, clipping, update; texts are tokenized before. Before anything is timed, the losses of both must be equal, and
those after one step as well. Ours runs as in the Trainer, inside `fast_layers`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from minillm.data import korean_documents, korean_questions
from minillm.models import BERT, BERTConfig
from minillm.nn.fast_cpu import fast_layers
from minillm.search import SentenceEncoder, mnr_loss
from minillm.search.pair_training import PairObjective, PairRows, collate
from minillm.search.pairs import Pair, as_pairs
from minillm.search.trainable import trainable
from minillm.tokenizer import WordPieceTokenizer
from tests.benchmarks.harness import Row, in_turn, peer_or_none

SIZES = {
    "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024,
    "max_position_embeddings": 256, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
CLOSE = 1e-4  # of two builds of the same layers, in float32


def batch_of(size: int) -> list[Pair]:
    """Questions and the articles that answer them, no article twice."""
    texts = {one.id: one.text for one in korean_documents(size + 36)}
    asked = [one for one in korean_questions(size + 36) if one.kind == "world"]
    return as_pairs([(one.text, texts[one.gold[0]]) for one in asked])


def stepper(model: torch.nn.Module, loss_of: Callable[[], torch.Tensor]) -> Callable[[], float]:
    """A function that makes one step and gives the loss before it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.0, fused=True)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def our_step(encoder: SentenceEncoder, pairs: list[Pair], pieces: int | None) -> Callable[[], float]:
    """A step as `fine_tune` makes it."""
    part = trainable(encoder)
    batch = collate(PairRows(part, pairs, ("", ""))[:], part.pad_id)
    objective = PairObjective(part.embed, mnr_loss, pieces=pieces)
    model = part.module.train()
    step = stepper(model, lambda: objective(model, batch).loss)

    def as_in_the_trainer() -> float:
        with fast_layers(model):
            return step()

    return as_in_the_trainer


def their_step(
    peer: tuple[Any, Any], folder: str, pairs: list[Pair], pieces: int | None
) -> Callable[[], float]:
    """The same step of sentence-transformers on the encoder that a folder holds."""
    library, losses = peer
    model = library.SentenceTransformer(folder, device="cpu").train()
    columns = [model.preprocess(list(texts)) for texts in zip(*(one[:2] for one in pairs))]
    if pieces is None:
        loss = losses.MultipleNegativesRankingLoss(model)
    else:
        loss = losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=pieces)
    # the loss takes the columns apart: each step gets dicts of its own
    return stepper(model, lambda: loss([dict(one) for one in columns], None))


def compare(pieces: int | None, pairs: list[Pair], peer: tuple[Any, Any] | None, rounds: int) -> Row:
    """Pairs a second."""
    texts = [text for one in pairs for text in one[:2]]
    tokenizer = WordPieceTokenizer.train(texts, 2000)
    encoder = SentenceEncoder(BERT(BERTConfig(vocab_size=tokenizer.vocab_size, **SIZES)), tokenizer)
    calls = {}
    if peer:
        with tempfile.TemporaryDirectory() as folder:
            saved = str(encoder.save_pretrained(Path(folder)))
            calls["sentence-transformers"] = their_step(peer, saved, pairs, pieces)
    calls = {"ours": our_step(encoder, pairs, pieces), **calls}
    for when in ("before the first step", "after it"):
        losses = {name: step() for name, step in calls.items()}
        if max(losses.values()) - min(losses.values()) > CLOSE:
            raise AssertionError(f"the losses differ {when}: {losses}")
    times = in_turn(calls, rounds=rounds)
    theirs = len(pairs) / times["sentence-transformers"] if peer else None
    tokens = sum(map(len, encoder.tokens(texts)))
    way = "whole" if pieces is None else f"in pieces of {pieces} (gradient caching)"
    return Row(
        f"MNR training step, 4x256 BERT, {len(pairs)} pairs ({tokens:,} tokens), {way}", "sentence-transformers",
        "pairs/s", len(pairs) / times["ours"], theirs, target=1.0, spread=times.spread("sentence-transformers"),
    )  # fmt: skip


def run(quick: bool) -> list[Row]:
    """Whole batches, and batches in pieces."""
    torch.set_num_threads(1)
    library = peer_or_none("sentence_transformers")
    losses = library and peer_or_none("sentence_transformers.sentence_transformer.losses")
    peer = (library, losses) if losses else None
    pairs, pieces = batch_of(8 if quick else 32), 2 if quick else 8
    return [compare(one, pairs, peer, 3 if quick else 7) for one in (None, pieces)]
