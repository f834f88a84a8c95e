"""What general-purpose compressors need for a text: the bits per byte that a language model must beat.

A language model and a compressor do the same work: both guess what comes next, and a good guess costs few bits.
`taught` makes the comparison fair: the compressor may read the model's training text first, as far as it can look back.

    zlib    LZ77: repeats within 32 kB. The last 32 kB of the training text are given as its dictionary.
    bz2     sorts blocks of 900 kB by context (Burrows and Wheeler 1994).
    lzma    LZ77 with a long memory (64 MB here) and a model of its own output.

bz2 and lzma take no dictionary; what the text costs is size(taught + text) - size(taught).

Book: 13.3 LLM 평가하기.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable

from minillm._checks import check_text

WINDOW = 2**15  # bytes that zlib looks back


def compressed_bits_per_byte(text: str, taught: str = "") -> dict[str, float]:
    """{"zlib": ..., "bz2": ..., "lzma": ...}: compressed bits for each UTF-8 byte of `text`, after reading `taught`.

    Raises ValueError for an empty text.
    """
    data, before = check_text("text", text).encode("utf-8"), check_text("taught", taught).encode("utf-8")
    if not data:
        raise ValueError("text must not be empty")
    packer = zlib.compressobj(9, zdict=before[-WINDOW:]) if before else zlib.compressobj(9)
    sizes = {"zlib": len(packer.compress(data) + packer.flush())}
    packs: dict[str, Callable[[bytes], bytes]] = {
        "bz2": lambda content: bz2.compress(content, 9),
        "lzma": lambda content: lzma.compress(content, preset=9 | lzma.PRESET_EXTREME),
    }
    for name, pack in packs.items():
        sizes[name] = len(pack(before + data)) - (len(pack(before)) if before else 0)
    return {name: 8 * size / len(data) for name, size in sizes.items()}
