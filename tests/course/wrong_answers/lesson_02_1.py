"""Plausible wrong answers to the exercises of lesson 02_1."""

WRONG = {
    "02-1-a": {
        "merges low, although three merges of other pairs come before": 'prediction = ["s", "low", "est"]',
        "glues e and s first": 'prediction = ["s", "l", "o", "w", "es", "t"]',
        "stops after one merge": 'prediction = ["s", "l", "o", "w", "e", "st"]',
        "glues l and o in one of the four merges": 'prediction = ["s", "lo", "w", "est"]',
        "a string instead of a list": 'prediction = "slowest"',
    },
    "02-1-b": {
        "starts from characters instead of bytes": """
def encode(word, merges):
    tokens = [character.encode() for character in word.decode("utf-8", "replace")]
    for left, right in merges:
        i = 0
        while i < len(tokens) - 1:
            if tokens[i] == left and tokens[i + 1] == right:
                tokens[i : i + 2] = [left + right]
            i += 1
    return tokens
""",
        "glues the first occurrence of each pair only": """
def encode(word, merges):
    tokens = [bytes([byte]) for byte in word]
    for left, right in merges:
        for i in range(len(tokens) - 1):
            if tokens[i] == left and tokens[i + 1] == right:
                tokens[i : i + 2] = [left + right]
                break
    return tokens
""",
        "takes the leftmost pair that is any merge, whatever was learned first": """
def encode(word, merges):
    tokens = [bytes([byte]) for byte in word]
    i = 0
    while i < len(tokens) - 1:
        if (tokens[i], tokens[i + 1]) in merges:
            tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
            i = 0
        else:
            i += 1
    return tokens
""",
        "goes through the merges backwards": """
def encode(word, merges):
    tokens = [bytes([byte]) for byte in word]
    for left, right in reversed(merges):
        i = 0
        while i < len(tokens) - 1:
            if tokens[i] == left and tokens[i + 1] == right:
                tokens[i : i + 2] = [left + right]
            i += 1
    return tokens
""",
        "glues from the right": """
def encode(word, merges):
    tokens = [bytes([byte]) for byte in word]
    for left, right in merges:
        i = len(tokens) - 2
        while i >= 0:
            if tokens[i : i + 2] == [left, right]:
                tokens[i : i + 2] = [left + right]
            i -= 1
    return tokens
""",
    },
    "02-1-c": {
        "does not normalize": "def encode_composed(tokenizer, text):\n    return tokenizer.encode(text)",
        "decomposes": """
def encode_composed(tokenizer, text):
    return tokenizer.encode(unicodedata.normalize("NFD", text))
""",
        "replaces look-alikes too": """
def encode_composed(tokenizer, text):
    return tokenizer.encode(unicodedata.normalize("NFKC", text))
""",
        "folds case as well": """
def encode_composed(tokenizer, text):
    return tokenizer.encode(unicodedata.normalize("NFC", text).casefold())
""",
    },
    "02-1-d": {
        "too many characters": 'message = "a" * 36',
        "Hangul has three bytes a syllable, so at most 30 tokens": 'message = "뷁" * 10',
        "one family of emoji, joined, is seven characters but few bytes": 'message = "👨‍👩‍👧‍👦"',
        "plain letters": 'message = "zqxjkvbpyg"',
    },
}
