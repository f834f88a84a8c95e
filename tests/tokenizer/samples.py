"""Texts that trip tokenizers: scripts, composed and decomposed Hangul, joined emoji, code, blanks of every kind."""

import unicodedata

from hypothesis import strategies as st

KOREAN = "한국어는 교착어이다. 나는 학교에 갔다.\n토큰화는 쉽지 않다!"
SAMPLES = [
    "",
    " ",
    "Hello,  world! It's 3 o'clock; we'll see.",
    KOREAN,
    unicodedata.normalize("NFD", KOREAN),
    "ㄱㄴㄷ ㅏㅑㅓ 각 ᄒᆞᆫ글",
    "👩‍👩‍👧‍👦 🚀🇰🇷 é e\u0301 ﬁ Å",
    "def f(x):\n    return {'a': x ** 2}\t# 제곱\r\n\r\n",
    "\0\x01\x7f\x85\xa0\u2028\u3000\ufeff end",
    "a  \n \n\n  b   ",
    "'s't're've'll'd'm 'S'LL ''s",
    "1234567890 ½ Ⅷ 一二三 ٣",
    "x" * 300 + " " * 300 + "\n" * 50,
]

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=60),
    st.text(st.sampled_from("ab1 \n\t'srel!한ᄒ\u3000\u0301🚀<|>"), max_size=40),
    st.sampled_from(SAMPLES),
)
