"""Plausible wrong answers to the exercises of lesson 01_1."""

WRONG = {
    "01-1-a": {
        "the first word that follows, not the most frequent": """
def most_likely_next(text, word):
    words = text.split()
    for one, following in pairwise(words):
        if one == word:
            return following
    return None
""",
        "looks at the word before": """
def most_likely_next(text, word):
    counts = {}
    for one, following in pairwise(text.split()):
        if following == word:
            counts[one] = counts.get(one, 0) + 1
    return max(counts, key=counts.get) if counts else None
""",
        "fails on a word that is never followed": """
def most_likely_next(text, word):
    counts = {}
    for one, following in pairwise(text.split()):
        if one == word:
            counts[following] = counts.get(following, 0) + 1
    return max(counts, key=counts.get)
""",
        "breaks ties by the alphabet": """
def most_likely_next(text, word):
    counts = {}
    for one, following in pairwise(text.split()):
        if one == word:
            counts[following] = counts.get(following, 0) + 1
    return max(sorted(counts), key=counts.get) if counts else None
""",
        "takes pieces of words": """
def most_likely_next(text, word):
    following = [part.split()[0] for part in text.split(word)[1:] if part.split()]
    return max(following, key=following.count) if following else None
""",
    },
    "01-1-b": {
        "stays in nats": "def bits_per_byte(loss, tokens, size):\n    return loss * tokens / size",
        "divides the wrong way": """
def bits_per_byte(loss, tokens, size):
    from math import log
    return loss / log(2) * size / tokens
""",
        "per token, not per byte": """
def bits_per_byte(loss, tokens, size):
    from math import log
    return loss / log(2)
""",
        "multiplies by ln 2": """
def bits_per_byte(loss, tokens, size):
    from math import log
    return loss * log(2) * tokens / size
""",
    },
    "01-1-c": {
        "forgets the scales": "def four_bit_bytes(weights, block):\n    return -(-weights // 2)",
        "rounds down": "def four_bit_bytes(weights, block):\n    return weights // 2 + 4 * (weights // block)",
        "one byte a weight": "def four_bit_bytes(weights, block):\n    return weights + 4 * -(-weights // block)",
        "scales of one byte": "def four_bit_bytes(weights, block):\n    return -(-weights // 2) + -(-weights // block)",
    },
}
