"""BPE training against tokenizers' BpeTrainer: same corpus, same vocabulary, one thread (RAYON_NUM_THREADS=1).

tokenizers gives ties to the lowest ids, we to the greatest byte strings. Both are implemented, so the merges are
compared one by one under its rule before anything is timed; what is timed is our default.
"""

from __future__ import annotations

import json
import os
import sysconfig
import unicodedata
from pathlib import Path

os.environ.setdefault("RAYON_NUM_THREADS", "1")

from minillm.tokenizer import BPETokenizer
from minillm.tokenizer.bpe_train_fast import learn_merges_fast
from minillm.tokenizer.byte_alphabet import to_bytes
from minillm.tokenizer.word_table import count_words_fast
from tests.benchmarks.harness import Row, in_turn, peer_or_none

END = "<|endoftext|>"


def python_reference() -> list[str]:
    """The texts of the Python language reference that ships with this interpreter (about 0.47 MB)."""
    from pydoc_data.topics import topics

    return [topics[name] for name in sorted(topics)]


def every_version_knows(text: str) -> bool:
    """Whether all characters are assigned in this Python's Unicode tables, which are older than the peers'. Where
    Unicode versions differ, so does what counts as a letter, and the two would train on different words."""
    return text.isascii() or all(unicodedata.category(character) != "Cn" for character in set(text))


def source_and_docs(size: int) -> list[str]:
    """At least `size` bytes of the source and documentation installed with this interpreter, or all there is."""
    paths = sysconfig.get_paths()
    texts, total = [], 0
    for folder in dict.fromkeys((paths["stdlib"], paths["purelib"])):
        for path in sorted(Path(folder).rglob("*")):
            if path.suffix in (".py", ".pyi", ".md", ".rst", ".txt") and path.is_file() and total < size:
                text = path.read_text(encoding="utf-8", errors="replace")
                if every_version_knows(text):
                    texts.append(text)
                    total += len(text.encode("utf-8"))
    return texts


def train_theirs(tokenizers, texts: list[str], vocab_size: int):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def same_merges(theirs, texts: list[str], vocab_size: int) -> str:
    """A note for the row: whether all merges agree under tokenizers' tie rule."""
    merges = [tuple(map(to_bytes, pair)) for pair in json.loads(theirs.to_str())["model"]["merges"]]
    ours = learn_merges_fast(count_words_fast(texts), vocab_size - 257, ties="ids")
    equal = sum(a == b for a, b in zip(ours, merges))
    return f"{equal} of {len(merges)} merges equal under the peer's tie rule"


def run(quick: bool) -> list[Row]:
    tokenizers = peer_or_none("tokenizers")
    rows = []

    texts = python_reference()
    megabytes = sum(len(text.encode("utf-8")) for text in texts) / 1e6
    calls = {
        "numba": lambda: BPETokenizer.train(texts, 4096),
    }
    note = ""
    if tokenizers:
        calls["tokenizers"] = lambda: train_theirs(tokenizers, texts, 4096)
        note = same_merges(train_theirs(tokenizers, texts, 4096), texts, 4096)
    times = in_turn(calls, rounds=3 if quick else 9)
    rows.append(
        Row(
            f"BPE training, compiled, 4k vocabulary, Python reference ({megabytes:.2f} MB)",
            "tokenizers",
            "s",
            times["numba"],
            times.get("tokenizers"),
            3.0,
            note=note,
            higher_is_better=False,
            spread=times.spread("tokenizers", "numba"),
        )
    )

    size, vocab_size = (4_000_000, 8192) if quick else (48_000_000, 32_768)
    texts = source_and_docs(size)
    megabytes = sum(len(text.encode("utf-8")) for text in texts) / 1e6
    calls, note = {"ours": lambda: BPETokenizer.train(texts, vocab_size)}, ""
    if tokenizers:
        calls["theirs"] = lambda: train_theirs(tokenizers, texts, vocab_size)
        note = same_merges(calls["theirs"](), texts, vocab_size)
    times = in_turn(calls, rounds=1 if quick else 3, warmup=0)  # a call of the peer takes ten seconds
    rows.append(
        Row(
            f"BPE training, compiled, {vocab_size // 1024}k vocabulary, source and docs ({megabytes:.0f} MB)",
            "tokenizers",
            "s",
            times["ours"],
            times.get("theirs"),
            None if quick else 5.0,
            note=note,
            higher_is_better=False,
            spread=times.spread("theirs"),
        )
    )
    return rows
