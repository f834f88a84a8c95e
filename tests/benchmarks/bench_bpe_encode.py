"""BPE encoding against tiktoken and tokenizers: the same vocabulary in all three, equal ids asserted before timing."""

from __future__ import annotations

import os

os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path

from minillm.tokenizer import BPETokenizer
from minillm.tokenizer.byte_alphabet import to_bytes
from tests.benchmarks.bench_bpe_train import python_reference
from tests.benchmarks.harness import Row, in_turn, peer_or_none


def as_tiktoken(tiktoken, tokenizer: BPETokenizer):
    """The same vocabulary in tiktoken, which wants ids in the order of merges: ours less the special tokens."""
    first = len(tokenizer.special_tokens)
    ranks = {to_bytes(name): index - first for name, index in list(tokenizer.vocab.items())[first:]}
    return tiktoken.Encoding("ours", pat_str=tokenizer.pattern, mergeable_ranks=ranks, special_tokens={})


def as_tokenizers(tokenizers, tokenizer: BPETokenizer):
    import json

    return tokenizers.Tokenizer.from_str(json.dumps(tokenizer.to_json()))


def compare(
    name: str, ours: BPETokenizer, text: str, tiktoken_peer, tokenizers_peer, quick: bool
) -> list[Row]:
    megabytes = len(text.encode("utf-8")) / 1e6
    calls = {"ours": lambda: ours.encode(text)}
    if tiktoken_peer:
        calls["tiktoken"] = lambda: tiktoken_peer.encode_ordinary(text)
    if tokenizers_peer:
        calls["tokenizers"] = lambda: tokenizers_peer.encode(text, add_special_tokens=False).ids
    times = in_turn(calls, rounds=3 if quick else 15)
    work = f"BPE encode, {name}, Python reference ({megabytes:.2f} MB)"
    return [
        Row(
            work,
            peer,
            "MB/s",
            megabytes / times["ours"],
            megabytes / times[peer] if peer in times else None,
            target,
            spread=times.spread(peer),
        )
        for peer, target in (("tiktoken", 1.5), ("tokenizers", 8.0))
    ]


def run(quick: bool) -> list[Row]:
    tiktoken, tokenizers = peer_or_none("tiktoken"), peer_or_none("tokenizers")
    texts = python_reference()
    text = "\n".join(texts)
    ours = BPETokenizer.train(texts, 4096)
    ids = ours.encode(text)
    fast = as_tiktoken(tiktoken, ours) if tiktoken else None
    rust = as_tokenizers(tokenizers, ours) if tokenizers else None
    assert fast is None or [index + 1 for index in fast.encode_ordinary(text)] == ids
    assert rust is None or rust.encode(text).ids == ids
    rows = compare("4k vocabulary", ours, text, fast, rust, quick)

    folder = Path(os.environ.get("MINILLM_DATA", "")) / "tokenizers" / "gpt2"
    if os.environ.get("MINILLM_DATA") and folder.exists():
        gpt2 = BPETokenizer.from_files(folder / "vocab.json", folder / "merges.txt")
        ids = gpt2.encode(text)
        rust = as_tokenizers(tokenizers, gpt2) if tokenizers else None
        fast = None
        if tiktoken:
            ranks = {to_bytes(name): index for name, index in gpt2.vocab.items() if index < 50256}
            fast = tiktoken.Encoding("gpt2", pat_str=gpt2.pattern, mergeable_ranks=ranks, special_tokens={})
        assert fast is None or fast.encode_ordinary(text) == ids
        assert rust is None or rust.encode(text).ids == ids
        rows += compare("GPT-2's vocabulary", gpt2, text, fast, rust, quick)
    return rows
