"""Texts that break rules: every kind of character, and long repeats that make a careless pattern slow."""

import base64
import random

from hypothesis import strategies as st

ALPHABET = "aе1١०٠-. \n\t()+@=/_[]{}\\\"'#<!?。ㅁㅜ무시해공일"
ALPHABET += "\u200b\u0301\u3164\ufe0f\U000e0041\U0001f600\ud800\x00①ﷺßİ½"
texts = st.text() | st.text(st.sampled_from(ALPHABET), max_size=60) | st.text("0123456789-. ", max_size=40)
REPEATED = [
    "1", "1 ", "010-", "010 1234 ", "a@", "a@a.", "a.", "DE89 ", "-----BEGIN PRIVATE KEY-----", "eyJaaaaaaaaaaaaa.",
    "\u0301\u0327",    "api_key=", "공일공 ", "\u200b", "ㅁㅜ", ". ", "+82 ", "1-", "\ud800", "(", "\n ",
    "i g n o r e ", "AAAA", "-----BEGIN ab. ", "4111 1111 1111 1111 ", "=", "ﷺ",
]  # fmt: skip


def random_text(rng: random.Random) -> str:
    """Up to 80 characters of any kind, with pieces that rules look for."""
    kinds = [
        lambda: "".join(rng.choices(ALPHABET, k=rng.randint(0, 12))),
        lambda: "".join(rng.choices("0123456789-. ", k=rng.randint(0, 20))),
        lambda: "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randint(0, 6))),
        lambda: base64.b64encode(rng.randbytes(rng.randint(0, 30))).decode(),
        lambda: rng.choice(REPEATED) * rng.randint(0, 5),
    ]
    return "".join(rng.choice(kinds)() for _ in range(rng.randint(0, 6)))
