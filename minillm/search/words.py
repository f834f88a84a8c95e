"""From text to search words (색인어): what BM25 counts, and what a question must share with a document.

A run of letters, digits or underscores is a word, lower-cased, after Unicode NFKC (so decomposed Hangul, full-width
letters and ligatures meet their usual forms): "Sys.exc_info()" -> ["sys", "exc_info"].

Korean glues particles (조사) to its nouns: "어텐션" and "어텐션은" are one word to a reader, two to a split at spaces.
`search_words` cuts every longer run of Hangul (and of Han and Kana, which have no spaces) into overlapping pairs, the
bigrams: "어텐션은" -> ["어텐", "텐션", "션은"], which shares two with "어텐션". No dictionary needed. The right
text at the first place (BM25, titles indexed with their texts), `plain_words` against `search_words`: KorQuAD, 5,774
questions, .763 and .905 (918 won, 98 lost); KLUE-MRC, 617 questions, .681 and .930 (157 won, 3 lost). Cutting the
particles off first, by a list, adds next to nothing: of 1,500 such questions it wins 25 and loses 21, so the pairs are
left as they are.

English adds an s: `standard_words`, the default of BM25, also makes "flows" and "flow" one word. Cranfield, nDCG@10:
.354 without, .375 with it. On 126 questions about Python it wins 4 and loses 6: names of code are no plurals.

Book: 10.4.1 키워드 검색 방식. Peer: Lucene's CJK bigram analyzer. Left out: other endings (-ing, -ed), and a
morphological analyser (형태소 분석기), which knows that "은" is a particle.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import regex

from minillm._checks import check_text

WORD = regex.compile(r"[\p{L}\p{M}\p{N}_]+")
ASCII_WORD = re.compile(r"[a-z0-9_]+")  # the same for lower-cased ASCII, which `re` splits twice as fast
_CJK = r"\p{Hangul}\p{Han}\p{Hiragana}\p{Katakana}"
RUN = regex.compile(rf"[{_CJK}]+|[^{_CJK}]+")
IS_CJK = regex.compile(rf"[{_CJK}]")


def plain_words(text: str) -> list[str]:
    """Lower-cased words of `text`, split at everything that is no letter, mark, digit or underscore.

    "GPT는 토큰을 읽는다" -> ["gpt는", "토큰을", "읽는다"]. Raises ValueError when `text` is no str.
    """
    text = check_text("text", text)
    if text.isascii():
        return ASCII_WORD.findall(text.lower())
    return WORD.findall(unicodedata.normalize("NFKC", text).lower())


def search_words(text: str) -> list[str]:
    """The default words of a search: `plain_words`, with longer runs of Hangul cut into character pairs.

    "GPT는 토큰을 읽는다" -> ["gpt", "는", "토큰", "큰을", "읽는", "는다"]. Raises ValueError when `text` is no str.
    """
    words = plain_words(text)
    return words if text.isascii() else _pairs(words)  # nothing to cut in most questions about code


@lru_cache(1 << 16)
def singular(word: str) -> str:
    """An English word without the s of its plural, by three rules: "flows" -> "flow", "theories" -> "theory".

    Paper: Harman 1991, "How effective is suffixing?", whose S stemmer it is. "class", "is", "radius" stay.
    """
    if len(word) < 4 or not word.endswith("s") or not word.isascii():
        return word
    if word.endswith("ies"):
        return word if word.endswith(("eies", "aies")) else word[:-3] + "y"
    if word.endswith("es"):
        return word if word.endswith(("aes", "ees", "oes")) else word[:-1]
    return word if word.endswith(("us", "ss")) else word[:-1]


def standard_words(text: str) -> list[str]:
    """`search_words`, each English word in its singular: what BM25 counts unless it is told otherwise.

    "GPTs는 토큰을 읽는다" -> ["gpt", "는", "토큰", "큰을", "읽는", "는다"]. Raises ValueError when `text` is no str.
    """
    return list(map(singular, search_words(text)))


def english_words(text: str) -> list[str]:
    """Words for English text: in their singular, without the words that questions share; Hangul stays as it is.

    "What are the boundary layers?" -> ["boundary", "layer"]. Raises ValueError when `text` is no str.
    """
    return [singular(word) for word in plain_words(text) if word not in QUESTION_WORDS]


def _pairs(words: list[str]) -> list[str]:
    found: list[str] = []
    for word in words:
        for run in RUN.findall(word):
            if len(run) > 2 and IS_CJK.match(run):
                found.extend(run[i : i + 2] for i in range(len(run) - 1))
            else:
                found.append(run)
    return found


# What a question is made of besides its subject. Python's own words (with, in, is, not, for, ...) are none of these:
# they are what people ask about.
QUESTION_WORDS = frozenset(
    """
    a an are at be been but by can could did do does from had has have how i it its me my of on our should that
    the their them there these they this those to was we were what when where which who whose why will would you
    your
    """.split()  # noqa: SIM905 - a list of 60 quoted words reads worse
)
# The Korean ones (의문사), with the particles and endings that they take: 언제, 언제부터, 무엇인가요.
KOREAN_QUESTION_WORD = regex.compile(
    "(?:무엇|뭐|뭘|뭔|무슨|어떤|어느|어떻게|왜|언제|어디|누구|누가|몇|얼마나|얼마)"
    "(?:이|가|을|를|은|는|의|에|에서|로|으로|부터|까지|이고|이며|인지|인가|인가요|일까|일까요|입니까|야|지|죠|나요|예요|이에요|요)?"
)


# The operators of code are words too: people ask what := does. Only a whole run of operator characters counts, so
# neither the ::= of a grammar, nor a ruler of ====, nor the // of an address does. A star before a name is an operator
# (*args, **kwargs), unless it opens *emphasis* or **strong words**, as in plain text and Markdown.
OPERATORS = frozenset(
    ":= == != <= >= -> ... // << >> ** += -= *= /= //= %= @= &= |= ^= <<= >>= **=".split()  # noqa: SIM905
)
_EMPHASIS = regex.compile(r"(?<![\w*])(\*{1,2})(?=\S)[^*\n]+(?<=\S)\1(?![\w*])")
_OPERATOR = regex.compile(
    r"(?<![\w*])\*{1,2}(?=[^\W\d])|(?<![-+*/%@&|^<>=!:~.])[-+*/%@&|^<>=!:~.]{2,}+"  # a star before a name, or a run
)


def find_operators(text: str) -> list[tuple[int, int, str]]:
    """(start, end, operator) of each operator of code in `text`: "if a == b" -> [(5, 7, "==")]."""
    plain = _EMPHASIS.sub(lambda match: " " * len(match[0]), text)
    found = [(*match.span(), match[0]) for match in _OPERATOR.finditer(plain)]
    return [one for one in found if one[2] in OPERATORS or one[2] == "*"]


def content_words(text: str) -> list[str]:
    """`search_words` without the words that questions share (불용어, stop words), and with the operators of code:
    "what does with do" -> ["with"], "what does := do" -> [":="].

    A manual seldom says "how" or "does", so their idf is high and a question would be answered by whatever passage
    happens to say them. Raises ValueError when `text` is no str.
    """
    words = [
        word
        for word in plain_words(text)
        if word not in QUESTION_WORDS and not KOREAN_QUESTION_WORD.fullmatch(word)
    ]
    return _pairs(words) + [operator for _, _, operator in find_operators(text)]


# The analysers that BM25 knows by name. Korean text needs pairs, and nothing of English.
TOKENIZERS = {"standard": standard_words, "english": english_words, "korean": search_words}
