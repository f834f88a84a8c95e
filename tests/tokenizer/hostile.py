"""Strings that trip tokenizers, made from a seed: mixed scripts, decomposed Hangul, joined emoji, blanks of every kind,
control characters, added tokens inside a text, long runs."""

import random
import unicodedata

ADDED = ("<|endoftext|>", "<s>", "</s>", "[CLS]", "<mask>", "lo", "<|끝|>", "Ünï")
_PARTS = [
    "the ", "lower", "low", "new est", "It's", "we'LL", "'S 're", "HELLO", "Straße", "ſo K", "x_y-z", "3.14", "2024",
    "1234567", "10m² b½", "Ⅷ", "٣٤", "한국어", " 말글", "각", unicodedata.normalize("NFD", "한글 각"), "ㄱㄴㅏ", "ᄒᆞᆫ",
    "日本語", "ﾊﾝｶｸ", "中文字", "Привет", "Σίσυφος", "שלום", "مرحبا", "हिन्दी", "ไทย", "ﬁn", "①②", "ÅÅ",
    "e\u0301", "\u0301", "a\u0300\u0323", "\u200d", "👩\u200d👩\u200d👧\u200d👦", "🚀", "🇰🇷", "❤\ufe0f", "☂", "€",
    "$5+3=8", "!?", "«»", "…", "「」", "▁", "Ġ", "▁▁a", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\x0b", "\x0c",
    "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u202f", "\u3000", "\ufeff", "\0", "\x01", "\x1c", "\x7f", "\u200b",
    "<0x41>", "<unk>", "<|endof", "text|>", "{}", "def f(x):\n    return x", "http://a.b/c?d=e", "\\n", "`", "~",
    *ADDED, *ADDED,
]  # fmt: skip
_KNOWN = [
    chr(point) for point in range(0x30000) if unicodedata.category(chr(point)) not in ("Cn", "Cs", "Co")
]


def hostile(seed: int) -> str:
    """One string; the same for the same seed."""
    rng = random.Random(seed)
    parts = []
    for _ in range(rng.randrange(1, 14)):
        kind = rng.random()
        if kind < 0.75:
            parts.append(rng.choice(_PARTS))
        elif kind < 0.9:
            parts.append("".join(rng.choices(_KNOWN, k=rng.randrange(1, 5))))
        elif kind < 0.98:
            parts.append("".join(map(chr, rng.choices(range(128), k=rng.randrange(1, 9)))))
        else:
            parts.append(rng.choice([" ", "a", "\n", "한", "ab", "!"]) * rng.randrange(50, 400))
    return "".join(parts)
