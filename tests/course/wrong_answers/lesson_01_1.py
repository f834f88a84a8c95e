"""Plausible wrong answers to the exercises of lesson 01_1."""

WRONG = {
    "01-1-a": {
        "counts instead of probabilities": """
def next_words(text, word):
    words = text.split()
    following = [after for before, after in zip(words, words[1:]) if before == word]
    return {one: following.count(one) for one in following}
""",
        "only the most frequent one": """
def next_words(text, word):
    words = text.split()
    following = [after for before, after in zip(words, words[1:]) if before == word]
    return {max(following, key=following.count): 1.0} if following else {}
""",
        "looks at the word before": """
def next_words(text, word):
    words = text.split()
    before = [one for one, after in zip(words, words[1:]) if after == word]
    return {one: before.count(one) / len(before) for one in before}
""",
        "counts the last word, too": """
def next_words(text, word):
    words = text.split()
    following = [after for before, after in zip(words, words[1:]) if before == word]
    return {one: following.count(one) / words.count(word) for one in following}
""",
        "share of the whole text": """
def next_words(text, word):
    words = text.split()
    following = [after for before, after in zip(words, words[1:]) if before == word]
    return {one: following.count(one) / len(words) for one in following}
""",
        "equally likely": """
def next_words(text, word):
    words = text.split()
    following = {after for before, after in zip(words, words[1:]) if before == word}
    return {one: 1 / len(following) for one in following}
""",
        "all words of the text, most of them at 0": """
def next_words(text, word):
    words = text.split()
    following = [after for before, after in zip(words, words[1:]) if before == word]
    return {one: following.count(one) / max(1, len(following)) for one in words}
""",
        "fails on a word that is never followed": """
def next_words(text, word):
    words = text.split()
    following = [after for before, after in zip(words, words[1:]) if before == word]
    total = len(following)
    if not total:
        return None
    return {one: following.count(one) / total for one in following}
""",
        "takes pieces of words": """
def next_words(text, word):
    following = [part.split()[0] for part in text.split(word)[1:] if part.split()]
    return {one: following.count(one) / len(following) for one in following}
""",
        "splits at single spaces": """
def next_words(text, word):
    words = text.split(" ")
    following = [after for before, after in zip(words, words[1:]) if before == word]
    return {one: following.count(one) / len(following) for one in following}
""",
        "ignores case": """
def next_words(text, word):
    words = text.lower().split()
    following = [after for before, after in zip(words, words[1:]) if before == word.lower()]
    return {one: following.count(one) / len(following) for one in following}
""",
        "a dict that says it equals everything": """
class Liar(dict):
    def __eq__(self, other):
        return True

    __hash__ = None


def next_words(text, word):
    return Liar()
""",
    },
    "01-1-b": {
        "stays in nats": """
def bits_of(probabilities, text):
    if 0 in probabilities:
        return math.inf
    return -sum(map(math.log, probabilities)) / len(text.encode())
""",
        "letters, not bytes": """
def bits_of(probabilities, text):
    if 0 in probabilities:
        return math.inf
    return -sum(map(math.log2, probabilities)) / len(text)
""",
        "per token, not per byte": """
def bits_of(probabilities, text):
    if 0 in probabilities:
        return math.inf
    return -sum(map(math.log2, probabilities)) / len(probabilities)
""",
        "multiplies first, and the product vanishes": """
def bits_of(probabilities, text):
    product = math.prod(probabilities)
    return -math.log2(product) / len(text.encode()) if product > 0 else math.inf
""",
        "the mean probability": """
def bits_of(probabilities, text):
    return -math.log2(sum(probabilities) / len(probabilities)) * len(probabilities) / len(text.encode())
""",
        "leaves the impossible ones out": """
def bits_of(probabilities, text):
    return -sum(math.log2(p) for p in probabilities if p > 0) / len(text.encode())
""",
        "replaces 0 by something small": """
def bits_of(probabilities, text):
    return -sum(math.log2(max(p, 1e-9)) for p in probabilities) / len(text.encode())
""",
        "at least something for every token": """
def bits_of(probabilities, text):
    if 0 in probabilities:
        return math.inf
    return -sum(math.log2(max(p, 1e-10)) for p in probabilities) / len(text.encode())
""",
        "fails on 0": """
def bits_of(probabilities, text):
    return -sum(math.log2(p) for p in probabilities) / len(text.encode())
""",
        "negative": """
def bits_of(probabilities, text):
    if 0 in probabilities:
        return math.inf
    return sum(map(math.log2, probabilities)) / len(text.encode())
""",
        "a number that says it equals everything": """
class Liar(float):
    def __eq__(self, other):
        return True

    def __sub__(self, other):
        return 0.0

    __rsub__ = __sub__
    __hash__ = None


def bits_of(probabilities, text):
    return Liar(1.0)
""",
    },
    "01-1-c": {
        "the exam itself": "def leak(exam):\n    return exam",
        "nothing": "def leak(exam):\n    return ''",
        "in capitals": "def leak(exam):\n    return exam.upper()",
        "twice the white space": "def leak(exam):\n    return exam.replace(' ', '  ')",
        "the sentences in another order": """
def leak(exam):
    return '. '.join(reversed(exam.split('. '))) + '.'
""",
        "backwards": "def leak(exam):\n    return exam[::-1]",
        "too little of it": "def leak(exam):\n    return exam[: len(exam) // 10].replace('.', ' ')",
        "the words, sorted": "def leak(exam):\n    return ' '.join(sorted(exam.replace('.', '').split()))",
        "one text, learnt by heart": """
def leak(exam):
    return "\\n\\n".join(one.text for one in korean_documents(12, part="held_out")).replace(".", " ")
""",
        "bytes": "def leak(exam):\n    return exam.replace('.', ' ').encode()",
    },
    "01-1-d": {
        "bits per token": "prediction = 12",
        "nothing known about bytes": "prediction = 8",
        "multiplied": "prediction = 48",
        "in nats": "prediction = math.log(4096) / 4",
        "upside down": "prediction = 4 / 12",
        "a text": "prediction = '3'",
        "an object that says it equals everything": """
class Liar:
    def __eq__(self, other):
        return True


prediction = Liar()
""",
    },
}
