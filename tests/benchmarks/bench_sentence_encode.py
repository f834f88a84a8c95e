"""SentenceEncoder against sentence-transformers: the same texts, the same model, one thread, from text to vectors.

all-MiniLM-L6-v2 and multilingual-e5-small where they were fetched (`minillm fetch minilm`, `minillm fetch e5`); a model
of MiniLM's sizes with drawn weights in the place of one that was not. Vectors are compared before anything is timed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import tempfile
from pathlib import Path

import torch

from minillm.data import available, korean_documents
from minillm.models import BERT, BERTConfig
from minillm.search import SentenceEncoder
from minillm.tokenizer import WordPieceTokenizer
from tests.benchmarks.bench_bpe_train import python_reference
from tests.benchmarks.harness import Row, in_turn, peer_or_none


def drawn(texts: list[str]) -> SentenceEncoder:
    """A model of MiniLM's sizes that nobody trained."""
    tokenizer = WordPieceTokenizer.train(texts, 8000)
    config = BERTConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=384, num_hidden_layers=6, intermediate_size=1536
    )
    return SentenceEncoder(BERT(config), tokenizer)


def compare(name: str, ours: SentenceEncoder, texts: list[str], library, quick: bool) -> Row:
    """Texts a second."""
    calls = {"ours": lambda: ours.encode(texts)}
    if library:
        with tempfile.TemporaryDirectory() as folder:
            peer = library.SentenceTransformer(str(ours.save_pretrained(Path(folder))), device="cpu")
        assert (ours.encode(texts[:9]) * peer.encode(texts[:9])).sum(1).min() > 0.99999
        calls["sentence-transformers"] = lambda: peer.encode(texts, show_progress_bar=False)
    times = in_turn(calls, rounds=3 if quick else 5)
    theirs = len(texts) / times["sentence-transformers"] if library else None
    tokens = sum(map(len, ours.tokens(texts)))
    return Row(
        f"{name}, encode {len(texts)} texts ({tokens:,} tokens)", "sentence-transformers", "texts/s",
        len(texts) / times["ours"], theirs, spread=times.spread("sentence-transformers"),
    )  # fmt: skip


def run(quick: bool) -> list[Row]:
    torch.set_num_threads(1)
    library = peer_or_none("sentence_transformers")
    english = [text[:300] for text in python_reference() if len(text) > 100]
    korean = [document.text[:200] for document in korean_documents(200, seed=3)]
    count = 32 if quick else 96
    real = available("minilm")
    rows = [
        compare(
            "all-MiniLM-L6-v2" if real else "6x384 BERT",
            SentenceEncoder.from_pretrained("minilm") if real else drawn(english),
            english[:count], library, quick,
        )
    ]  # fmt: skip
    if available("e5"):
        encoder = SentenceEncoder.from_pretrained("e5")
        rows.append(compare("multilingual-e5-small, Korean", encoder, korean[:count], library, quick))
    return rows
