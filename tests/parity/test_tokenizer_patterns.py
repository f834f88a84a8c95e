"""Our translation of Oniguruma's patterns against the engine itself (tokenizers' Split): equal cuts or a refusal."""

import random

import pytest

from minillm.tokenizer.splitting import compile_pattern, find_matches

tokenizers = pytest.importorskip("tokenizers", reason="the peer: pip install -e '.[parity]'")

# What published tokenizers are written with: GPT-2, GPT-4, o200k, Llama 3, Qwen2, DeepSeek, Bloom, BERT-like.
PUBLISHED = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s+",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r" ?[^(\s|[.,!?…。，、।۔،])]+",
    r"\w+|[^\w\s]+",
    r"[^\w\s]|_",
]
ATOMS = [
    r"\p{L}", r"\p{N}", r"\s", r"\S", r"\w", r"\W", r"\d", r"\D", r"\h", ".", r"\p{Lu}", r"\p{Ll}", r"\p{M}", r"\p{P}",
    r"\p{S}", r"\p{Han}", r"\p{Hangul}", r"\P{L}", r"\p{^L}", "a", "b", "'s", " ", r"\r", r"\n", r"\x41", r"\u200d",
    r"\x{AC00}", "한", "'", "é", "²", "[a-z]", "[^a-z]", r"[^\s\p{L}\p{N}]", r"[^\r\n\p{L}\p{N}]", r"[\r\n]", r"[\w-]",
    "[a-z&&[^aeiou]]", r"[\p{L}&&[^\p{Lu}]]", r"[\p{L}\p{M}]", "[[:alpha:]]", "[[:^digit:]]", "[[:punct:]]",
    "[^[a-c]x]", r"[^\w\s]", r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", "[一-龥]", r"[!-\/:-@\[-`{-~]", r"[\S&&\W]", "[^[^a]]",
    r"[\h_]", r"[\d.]", "[&a]", r"[^\W\d_]", r"[\p{^L}x]", r"\R", r"\O", r"\N", "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    "(?i:[sdmt]|ll)", "(?i:k)", "(?i:[a-d])", "(?i)a",
    "(?m:.)", "(?i:[^s])", "(?m:.+)", "(?mi:a.k)", r"(?i:\s*é)", r"(?i:\w+)",
    "^", "$", r"\b", r"\B", r"\A", r"\z", r"\Z",
]  # fmt: skip
AMOUNTS = [
    *[""] * 8,
    *"?*+?*+",
    "{1,3}",
    "{2}",
    "{2,}",
    "{,2}",
    "+?",
    "*?",
    "??",
    "++",
    "*+",
    "?+",
    "{1,3}+",
    "{2}?",
]
GROUPS = [
    "(?:%s)",
    "(%s)",
    "(?>%s)",
    "(?=%s)",
    "(?!%s)",
    "(?i:%s)",
    "(?m:%s)",
    "(?<n>%s)",
    "(?<=%s)",
    "(?<!%s)",
]
CHARACTERS = [
    "a", "b", "s", "S", "K", "\u212a", "ſ", "k", "t", "re", "'s", "'S", "'ll", "'LL", " ", "  ", "\n", "\r\n", "\n\n",
    "\t", "\u3000", "\x85", "\u2028", "\xa0", "1", "23", "½", "m²", "Ⅷ", "٣", "一", "한", "ᄒ", "ᅡ", "ᆫ", "e\u0301", "é",
    "É", "👩\u200d👩\u200d👧", "🚀", "_", "-", ".", "!", "$", "«", "ⓐ", "ß", "ss", "ﬁ", "\ufeff", "\0", "x", "[", "]",
    "(", "&", "\\", "\u200d", "ǅ", "ʰ",
]  # fmt: skip


def random_pattern(rng, depth=2):
    def atom():
        if depth and rng.random() < 0.2:
            group = rng.choice(GROUPS)
            return group % (
                rng.choice(ATOMS) if "(?<=" in group or "(?<!" in group else random_pattern(rng, depth - 1)
            )
        return rng.choice(ATOMS)

    def branch():
        return "".join(atom() + rng.choice(AMOUNTS) for _ in range(rng.randint(1, 3)))

    return "|".join(branch() for _ in range(rng.randint(1, 3)))


def texts(rng, count):
    return [
        "",
        "\n",
        "a\n",
        "\na",
        *("".join(rng.choices(CHARACTERS, k=rng.randint(1, 14))) for _ in range(count)),
    ]


def theirs(pattern):
    """Their cutter; None where Oniguruma refuses the pattern."""
    try:
        return tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    except Exception:
        return None


def their_cut(peer, text):
    """Where they cut; None where they give up, because the search took too many steps."""
    try:
        return [span for _, span in peer.pre_tokenize_str(text)]
    except BaseException as error:
        if "retry-limit" in str(error):
            return None
        raise


def our_cut(compiled, text):
    cuts, at = [], 0
    for start, end in find_matches(compiled, text):
        cuts += [span for span in ((at, start), (start, end)) if span[0] < span[1]]
        at = end
    return [*cuts, (at, len(text))] if at < len(text) else cuts


def compare(patterns, rng, strings):
    """(patterns with equal cuts on every text, patterns that we refuse)."""
    equal = refused = 0
    for pattern in patterns:
        peer = theirs(pattern)
        if peer is None:
            continue
        try:
            compiled = compile_pattern(pattern)
        except ValueError:
            refused += 1
            continue
        for text in texts(rng, strings):
            expected = their_cut(peer, text)
            if expected is not None:
                assert our_cut(compiled, text) == expected, (pattern, text)
        equal += 1
    return equal, refused


def test_published_patterns():
    assert compare(PUBLISHED, random.Random(0), 200) == (len(PUBLISHED), 0)


def test_random_patterns():
    rng = random.Random(1)
    equal, refused = compare((random_pattern(rng) for _ in range(60)), rng, 20)
    assert equal > 20
    assert refused < equal / 3


@pytest.mark.soak
def test_five_hundred_random_patterns():
    rng = random.Random(2)
    equal, refused = compare((random_pattern(rng) for _ in range(1600)), rng, 100)
    assert equal >= 500
    assert refused < equal / 3


def test_runs_before_a_line_end_are_cut_as_by_the_engine():
    """`C+$` alone is translated so that it is not tried inside a run."""
    rng = random.Random(3)
    for pattern in (r"\s+$", r"[ \n]+$", r"[^a\n]+$", r"\S+$", r"\P{L}+$", r"[ \na]+$"):
        peer, compiled = theirs(pattern), compile_pattern(pattern)
        assert compiled.pattern.startswith("(?<!"), pattern
        for _ in range(500):
            text = "".join(rng.choices(" \n\ta", k=rng.randint(0, 12)))
            assert our_cut(compiled, text) == their_cut(peer, text), (pattern, text)
