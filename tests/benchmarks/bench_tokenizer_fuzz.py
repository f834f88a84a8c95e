"""A million random strings, half Unicode and half bytes, through encode and decode: none may come back changed.

There is no peer: the row reports strings a second, and an assertion stops the run at the first loss.
"""

from __future__ import annotations

import random
import time

from minillm.tokenizer import BPETokenizer
from tests.benchmarks.harness import Row

_SAMPLES = [
    "한",
    "글",
    "ᄒ",
    "ᅡ",
    "ᆫ",
    "é",
    "e\u0301",
    "👩‍👩‍👧",
    "🚀",
    "\u200d",
    "ﬁ",
    "½",
    "\u3000",
    "\ufeff",
    "\0",
    "'re",
    "  ",
]


def random_text(rng: random.Random) -> str:
    """Up to 12 characters: any code point, or from a handful that trips tokenizers."""
    parts = []
    for _ in range(rng.randrange(13)):
        kind = rng.random()
        if kind < 0.4:
            parts.append(rng.choice(_SAMPLES))
        elif kind < 0.7:
            parts.append(chr(rng.randrange(128)))
        else:
            point = rng.randrange(0x110000 - 0x800)
            parts.append(chr(point if point < 0xD800 else point + 0x800))  # not the lone surrogates
    return "".join(parts)


def lost(tokenizer: BPETokenizer, strings: int, seed: int) -> int:
    """How many of `strings` random strings do not survive (asserts at the first; so 0)."""
    rng = random.Random(seed)
    for number in range(strings):
        if number % 2:
            data = rng.randbytes(rng.randrange(24))
            assert tokenizer.decode_bytes(tokenizer.encode_bytes(data)) == data, data
        else:
            text = random_text(rng)
            ids = tokenizer.encode(text)
            assert tokenizer.decode(ids) == text, text
            assert tokenizer.encode_bytes(text.encode()) == ids, text
    return 0


def run(quick: bool) -> list[Row]:
    from tests.benchmarks.bench_bpe_train import python_reference

    tokenizer = BPETokenizer.train(python_reference(), 2048)
    strings = 20_000 if quick else 1_000_000
    start = time.perf_counter()
    failures = lost(tokenizer, strings, seed=0)
    elapsed = time.perf_counter() - start
    return [
        Row(
            f"BPE fuzz: {strings:,} random texts and byte strings, encode and decode",
            "(no peer)",
            "strings/s",
            strings / elapsed,
            None,
            note=f"{failures} lost",
        )
    ]
