"""Plausible wrong answers to the exercises of lesson 02_1."""

TRAIN = """
def train(texts, num_merges, cut, longest):
    words = Counter(piece.encode() for text in texts for piece in cut(text))
    table = [([bytes([byte]) for byte in word], count) for word, count in words.items()]
    merges = []
    while len(merges) < num_merges:
        counts = Counter()
        for tokens, count in table:
            for left, right in pairwise(tokens):
                if len(left + right) <= longest:
                    counts[left, right] += count
        if not counts:
            break
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        for tokens, _ in table:
            i = 0
            while i < len(tokens) - 1:
                if (tokens[i], tokens[i + 1]) == best:
                    tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
                i += 1
    return merges
"""

ENCODE = """
def encode(text, merges, vocab, special_tokens):
    longest_first = sorted(special_tokens, key=len, reverse=True)
    pattern = f"({'|'.join(map(re.escape, longest_first))})"
    ids = []
    for part in re.split(pattern, text) if special_tokens else [text]:
        if part in special_tokens:
            ids.append(special_tokens[part])
            continue
        for piece in split(part):
            tokens = [bytes([byte]) for byte in piece.encode()]
            for left, right in merges:
                i = 0
                while i < len(tokens) - 1:
                    if tokens[i] == left and tokens[i + 1] == right:
                        tokens[i : i + 2] = [left + right]
                    i += 1
            ids += [vocab[token] for token in tokens]
    return ids
"""


def changed(answer: str, *changes: tuple[str, str]) -> str:
    """A right answer with one line made wrong; every change must find its place."""
    for before, after in changes:
        assert answer.count(before) == 1, before
        answer = answer.replace(before, after)
    return answer


LIAR = """
class Always:
    def __eq__(self, other):
        return True
    def __len__(self):
        return 5
    __hash__ = None
"""

WRONG = {
    "02-1-a": {
        "merges low, although three merges of other pairs come before": 'prediction = ["s", "low", "est"]',
        "glues e and s first": 'prediction = ["s", "l", "o", "w", "es", "t"]',
        "stops after one merge": 'prediction = ["s", "l", "o", "w", "e", "st"]',
        "glues l and o in one of the four merges": 'prediction = ["s", "lo", "w", "est"]',
        "a string instead of a list": 'prediction = "slowest"',
        "an object that says it is equal": f"{LIAR}\nprediction = Always()",
        "tokens that say they are equal": """
class Yes(str):
    def __eq__(self, other):
        return True
    __hash__ = str.__hash__

prediction = [Yes("slow"), Yes("est")]
""",
        "a list that lies about what it holds": """
class Liar(list):
    def __iter__(self):
        return iter(["s", "l", "o", "w", "est"])
    def __eq__(self, other):
        return True
    def __len__(self):
        return 5

prediction = Liar(["slowest"])
""",
    },
    "02-1-b": {
        "the library's plain trainer": """
def train(texts, num_merges, cut, longest):
    words = Counter(piece.encode() for text in texts for piece in cut(text))
    merges = bpe_plain.train_bpe_plain(words, num_merges)
    return [pair for pair in merges if len(pair[0] + pair[1]) <= longest]
""",
        "the library's tokenizer": """
def train(texts, num_merges, cut, longest):
    return BPETokenizer.train(texts, 257 + num_merges).merges
""",
        "the library's trainer by a hidden name": """
def train(texts, num_merges, cut, longest):
    words = Counter(piece.encode() for text in texts for piece in cut(text))
    return getattr(bpe_plain, "train_bpe_" + "plain")(words, num_merges)
""",
        "the library's merge, from its source": changed(
            TRAIN,
            ("    table =", "    space = {}\n    exec(open(bpe_plain.__file__).read(), space)\n    table ="),
            (
                """        for tokens, _ in table:
            i = 0
            while i < len(tokens) - 1:
                if (tokens[i], tokens[i + 1]) == best:
                    tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
                i += 1
""",
                "        table = [(space['merge_pair'](tokens, best), count) for tokens, count in table]\n",
            ),
        ),
        "what the checker expects, from its frame": """
def train(texts, num_merges, cut, longest):
    import sys

    frame = sys._getframe()
    while "expected" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["expected"]
""",
        "what the checker expects, from the function it hands over": """
def train(texts, num_merges, cut, longest):
    return cut.__globals__["learned"](texts, num_merges, cut, longest)
""",
        "the library's merge": changed(
            TRAIN,
            (
                """        for tokens, _ in table:
            i = 0
            while i < len(tokens) - 1:
                if (tokens[i], tokens[i + 1]) == best:
                    tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
                i += 1
""",
                "        table = [(bpe_plain.merge_pair(tokens, best), count) for tokens, count in table]\n",
            ),
        ),
        "ties go to the first pair seen": changed(
            TRAIN, ("key=lambda pair: (counts[pair], pair)", "key=counts.get")
        ),
        "ties go to the smallest pair": changed(
            TRAIN,
            (
                "max(counts, key=lambda pair: (counts[pair], pair))",
                "min(counts, key=lambda pair: (-counts[pair], pair))",
            ),
        ),
        "ties go to the greatest joined string": changed(
            TRAIN, ("(counts[pair], pair))", "(counts[pair], pair[0] + pair[1]))")
        ),
        "ignores the counts of words": changed(
            TRAIN, ("counts[left, right] += count", "counts[left, right] += 1")
        ),
        "ignores cut": changed(TRAIN, ("in cut(text)", "in [text]")),
        "always cuts by split": changed(TRAIN, ("in cut(text)", "in split(text)")),
        "always cuts at blanks": changed(TRAIN, ("in cut(text)", "in re.findall(r' ?[^ ]+| ', text)")),
        "ignores longest": changed(TRAIN, ("if len(left + right) <= longest", "if True")),
        "longest counts characters": changed(
            TRAIN, ("len(left + right) <=", "len((left + right).decode('utf-8', 'replace')) <=")
        ),
        "stops at the first pair that is too long": changed(
            TRAIN,
            ("if len(left + right) <= longest", "if True"),
            (
                "        merges.append(best)\n",
                "        if len(b''.join(best)) > longest:\n            break\n        merges.append(best)\n",
            ),
        ),
        "starts from characters": changed(
            TRAIN, ("[bytes([byte]) for byte in word]", "[one.encode() for one in word.decode()]")
        ),
        "crosses the texts": changed(
            TRAIN, ("for text in texts for piece in cut(text)", 'for piece in cut("".join(texts))')
        ),
        "fails when no pair is left": changed(TRAIN, ("        if not counts:\n            break\n", "")),
        "empties the list of texts": changed(
            TRAIN, ("    return merges", "    texts.clear()\n    return merges")
        ),
        "an object that says it is equal": f"{LIAR}\ndef train(*args):\n    return Always()",
        "knows the hidden test only": """
def train(texts, num_merges, cut, longest):
    return list(dict.fromkeys(pair for text in texts for piece in cut(text) for pair in pairwise(piece)))[:num_merges]
""",
    },
    "02-1-c": {
        "the library's encoder": """
def encode(text, merges, vocab, special_tokens):
    return bpe_plain.encode_plain(text, vocab, {pair: rank for rank, pair in enumerate(merges)}, special_tokens)
""",
        "the library's tokenizer of the set-up": """
def encode(text, merges, vocab, special_tokens):
    return small.encode(text)
""",
        "makes the library's tokenizer": """
def encode(text, merges, vocab, special_tokens):
    everything = {**vocab, **{name.encode(): index for name, index in special_tokens.items()}}
    tokens = sorted(everything, key=everything.get)
    return BPETokenizer(tokens, merges, special_tokens).encode(text)
""",
        "the library's encoder of a word": """
def encode(text, merges, vocab, special_tokens):
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    ids = []
    for part in special.special_parts(text, frozenset(special_tokens)):
        if part in special_tokens:
            ids.append(special_tokens[part])
        else:
            for piece in split(part):
                ids += [vocab[token] for token in bpe_plain.encode_word_plain(piece.encode(), ranks)]
    return ids
""",
        "the library's encoder by a hidden name": """
def encode(text, merges, vocab, special_tokens):
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    return getattr(bpe_plain, "encode_" + "plain")(text, vocab, ranks, special_tokens)
""",
        "no special tokens": changed(
            ENCODE, ("re.split(pattern, text) if special_tokens else [text]", "[text]")
        ),
        "the shortest special token first": changed(ENCODE, ("key=len, reverse=True", "key=len")),
        "reads special tokens as patterns": changed(
            ENCODE, ("map(re.escape, longest_first)", "longest_first")
        ),
        "merges across pieces": changed(ENCODE, ("in split(part)", "in [part]")),
        "starts from characters": changed(
            ENCODE, ("[bytes([byte]) for byte in piece.encode()]", "[one.encode() for one in piece]")
        ),
        "joins the first occurrence of each pair only": changed(
            ENCODE,
            (
                "tokens[i : i + 2] = [left + right]",
                "tokens[i : i + 2] = [left + right]\n                        break",
            ),
        ),
        "goes through the merges backwards": changed(ENCODE, ("in merges:", "in reversed(merges):")),
        "joins from the right": changed(
            ENCODE,
            (
                "i = 0\n                while i < len(tokens) - 1:",
                "i = len(tokens) - 2\n                while i >= 0:",
            ),
            ("                    i += 1", "                    i -= 1"),
        ),
        "takes the leftmost pair that is any merge": changed(
            ENCODE,
            (
                """            for left, right in merges:
                i = 0
                while i < len(tokens) - 1:
                    if tokens[i] == left and tokens[i + 1] == right:
                        tokens[i : i + 2] = [left + right]
                    i += 1
""",
                """            i = 0
            while i < len(tokens) - 1:
                if (tokens[i], tokens[i + 1]) in merges:
                    tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
                    i = 0
                else:
                    i += 1
""",
            ),
        ),
        "ignores vocab": changed(ENCODE, ("vocab[token]", "list(vocab).index(token)")),
        "an object that says it is equal": f"{LIAR}\ndef encode(*args):\n    return Always()",
    },
    "02-1-d": {
        "asks in the order that was taught": """
taught, asked, wasted = "red blue green " * 10, "red blue green red blue", "red blue green "
""",
        "new words": """
taught, asked, wasted = "red blue green " * 10, "violet orange yellow", "red blue green "
""",
        "too long a text": """
taught, asked, wasted = "red blue green " * 30, "green blue red green blue red", "red blue green "
""",
        "the token holds one word": """
taught, asked, wasted = "red blue green " * 10, "green blue red green blue red", "red "
""",
        "the token was never learned": """
taught, asked, wasted = "red blue green " * 10, "green blue red green blue red", "green blue red"
""",
        "the token is used": """
taught, asked, wasted = "red blue green " * 10, "green red blue red green blue", "red bl"
""",
        "nothing is asked": 'taught, asked, wasted = "red blue green " * 10, " ", "red blue green "',
        "a text that lies about its length": """
class Short(str):
    def __len__(self):
        return 10

taught, asked, wasted = Short("red blue green " * 30), "green blue red green blue red", "red blue green "
""",
        "no merge was possible": 'taught, asked, wasted = "a b c d", "d c b a", "a b"',
    },
}
