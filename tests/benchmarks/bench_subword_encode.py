"""WordPiece and Unigram encoding against tokenizers: the same file in both, equal ids asserted before timing.

Each work is timed twice: as it is used (words seen before are remembered), and with all memory emptied before each
round ("nothing remembered"). BERT's vocabulary is read from $MINILLM_DATA where it is; else one is trained here.
Unigram's 250,002 pieces are multilingual-e5-small's where it was fetched; else 250,000 are made up.
"""

from __future__ import annotations

import os

os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import json
import math
from pathlib import Path

from minillm.data import available, fetch, korean_documents
from minillm.tokenizer import UnigramTokenizer, WordPieceTokenizer, load_tokenizer
from minillm.tokenizer.unigram import NFKC_ONE_BLANK, metaspace_layout
from minillm.tokenizer.unigram_train import seed_pieces
from minillm.tokenizer.wordpiece_train import count_words
from tests.benchmarks.bench_bpe_train import python_reference
from tests.benchmarks.harness import Row, in_turn, peer_or_none

PIECES = 250_000  # as many as XLM-R has


def forget(tokenizer) -> None:
    tokenizer.model._known.clear()
    getattr(tokenizer, "_chunks", {}).clear()


def compare(name: str, ours, text: str, tokenizers, target: float | None, quick: bool) -> list[Row]:
    megabytes = len(text.encode("utf-8")) / 1e6
    calls = {"ours": lambda: ours.encode(text), "cold": lambda: (forget(ours), ours.encode(text))}
    if tokenizers:
        peer = tokenizers.Tokenizer.from_str(json.dumps(ours.to_json()))
        assert peer.encode(text, add_special_tokens=False).ids == ours.encode(text)
        calls["tokenizers"] = lambda: peer.encode(text, add_special_tokens=False).ids
    times = in_turn(calls, rounds=3 if quick else 7)
    theirs = megabytes / times["tokenizers"] if tokenizers else None
    return [
        Row(
            f"{name} ({megabytes:.2f} MB){note}", "tokenizers", "MB/s", megabytes / times[which], theirs, goal,
            spread=times.spread("tokenizers", which),
        )
        for which, note, goal in (("ours", "", target), ("cold", ", nothing remembered", None))
    ]  # fmt: skip


def bert(texts: list[str]) -> WordPieceTokenizer:
    path = Path(os.environ.get("MINILLM_DATA", "")) / "tokenizers" / "bert-base-uncased" / "vocab.txt"
    if os.environ.get("MINILLM_DATA") and path.exists():
        return WordPieceTokenizer.from_vocab(path)
    return WordPieceTokenizer.train(texts, 8000)


def large_unigram(texts: list[str]) -> UnigramTokenizer:
    """A vocabulary of XLM-R's size: the substrings of the texts by how much they cover, filled up with others."""
    words = count_words(texts, (), metaspace_layout(NFKC_ONE_BLANK, (), None, None))
    seeds = seed_pieces(words)
    whole = math.log(sum(seeds.values()))
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(piece, round(math.log(score) - whole, 6)) for piece, score in seeds.items()]
    pieces += [(f"▁{number}한", -20.0) for number in range(PIECES - len(pieces))]
    return UnigramTokenizer.from_vocab(pieces)


def xlm_roberta(texts: list[str]) -> tuple[str, UnigramTokenizer]:
    """(whose pieces, the tokenizer)."""
    if available("e5"):
        return "XLM-R's 250k pieces", load_tokenizer(fetch("e5"))
    return "250k pieces", large_unigram(texts)


def run(quick: bool) -> list[Row]:
    tokenizers = peer_or_none("tokenizers")
    english, korean = python_reference(), [d.text for d in korean_documents(200, seed=3)]
    ours, (pieces, large) = bert(english + korean), xlm_roberta(english + korean)
    rows: list[Row] = []
    for name, texts in (("Python reference", english), ("Korean", korean)):
        text = "\n".join(texts)
        rows += compare(f"WordPiece encode, {name}", ours, text, tokenizers, 0.7, quick)
        rows += compare(f"Unigram encode, {pieces}, {name}", large, text, tokenizers, None, quick)
    return rows
