"""Plausible wrong answers to the exercises of lesson 10_2."""

COSINES = """def cosines(hidden_a, mask_a, hidden_b, mask_b, pooling):
    def pool(hidden, mask):
        weights = mask[:, :, None].float()
        if pooling == "cls":
            return {cls}
        if pooling == "mean":
            return {mean}
        return {max}

    first, second = (hidden_a, mask_a), (hidden_b, mask_b)
    u, v = {units}
    return {result}
"""
RIGHT = {
    "cls": "hidden[:, 0]",
    "mean": "(hidden * weights).sum(1) / weights.sum(1)",
    "max": "hidden.masked_fill(weights == 0, -torch.inf).amax(1)",
    "units": "(F.normalize(pool(*side), dim=1) for side in (first, second))",
    "result": "u @ v.T",
}
ALIKE = 'alike = {{"cls": ({cls}), "mean": ({mean}), "max": ({max})}}'
PAIRS = {
    "cls": '"tea hot", "tea cold"',
    "mean": '"hot cold", "warm"',
    "max": '"hot cold cold cold", "cold hot hot hot"',
}


def cosines(**changes):
    return COSINES.format(**RIGHT | changes)


def alike(**changes):
    return ALIKE.format(**PAIRS | changes)


WRONG = {
    "10-2-a": {
        "the mean counts padding": cosines(mean="hidden.mean(1)"),
        "a sum without padding, a count with it, and no unit length": cosines(
            mean="(hidden * weights).sum(1) / hidden.shape[1]",
            units="(pool(*side) for side in (first, second))",
        ),
        "the mean has padding in its sum": cosines(mean="hidden.sum(1) / weights.sum(1)"),
        "the maximum takes padding": cosines(max="hidden.amax(1)"),
        "padding is zero in the maximum": cosines(max="(hidden * weights).amax(1)"),
        "the maximum of absolute values": cosines(
            max="hidden.abs().masked_fill(weights == 0, -torch.inf).amax(1)"
        ),
        "cls is the last place": cosines(cls="hidden[:, -1]"),
        "cls is the mean": cosines(cls="(hidden * weights).sum(1) / weights.sum(1)"),
        "always the mean": cosines(
            cls="(hidden * weights).sum(1) / weights.sum(1)", max="(hidden * weights).sum(1) / weights.sum(1)"
        ),
        "products without unit length": cosines(units="(pool(*side) for side in (first, second))"),
        "only the first side has unit length": cosines(
            units="F.normalize(pool(*first), dim=1), pool(*second)"
        ),
        "unit length over the texts": cosines(
            units="(F.normalize(pool(*side), dim=0) for side in (first, second))"
        ),
        "only pairs of the same place": cosines(
            result="F.cosine_similarity(u[: min(len(u), len(v))], v[: min(len(u), len(v))])"
        ),
        "the second side in the rows": cosines(result="v @ u.T"),
        "distances": cosines(result="1 - u @ v.T"),
        "the first side with itself": cosines(result="u @ u.T"),
        "clears the padding of what it is given": cosines().replace(
            '        if pooling == "cls"', '        hidden *= weights\n        if pooling == "cls"', 1
        ),
        "the library's poolings": """def cosines(hidden_a, mask_a, hidden_b, mask_b, pooling):
    u, v = (F.normalize(POOLINGS[pooling](*side), dim=1) for side in ((hidden_a, mask_a), (hidden_b, mask_b)))
    return u @ v.T
""",
        "the library's functions, imported inside": """def cosines(hidden_a, mask_a, hidden_b, mask_b, pooling):
    from minillm.search import sentence_encoder as library

    u, v = (F.normalize(library.POOLINGS[pooling](*side), dim=1) for side in ((hidden_a, mask_a), (hidden_b, mask_b)))
    return u @ v.T
""",
        "the library's functions behind a name": """import importlib


def cosines(hidden_a, mask_a, hidden_b, mask_b, pooling):
    first, second = (hidden_a, mask_a), (hidden_b, mask_b)
    names = {"cls": "first_" + "token", "mean": "mean_" + "of_tokens", "max": "max_" + "of_tokens"}
    pool = getattr(importlib.import_module("minillm.search.sentence_encoder"), names[pooling])
    u, v = (F.normalize(pool(*side), dim=1) for side in ((hidden_a, mask_a), (hidden_b, mask_b)))
    return u @ v.T
""",
        "an object that says it is equal": """def cosines(hidden_a, mask_a, hidden_b, mask_b, pooling):
    class Agreeable(list):
        def __eq__(self, other):
            return True

        __hash__ = None

    return Agreeable([Agreeable([0.5] * len(hidden_b)) for _ in hidden_a])
""",
    },
    "10-2-b": {
        "no special tokens": "prediction = (6500, 400000, 26500)",
        "the pair with four special tokens": "prediction = (7000, 440000, 29000)",
        "the pair with two special tokens": "prediction = (7000, 420000, 28000)",
        "questions are forgotten": "prediction = (6400, 430000, 27900)",
        "the bi-encoder reads the texts for every question": "prediction = (320600, 430000, 342100)",
        "the second stage alone": "prediction = (7000, 430000, 21500)",
        "ten pairs in all": "prediction = (7000, 430000, 7430)",
        "two numbers": "prediction = (7000, 430000)",
        "thousands as text": 'prediction = ("7,000", "430,000", "28,500")',
    },
    "10-2-c": {
        "another order: the maximum is the same, too": alike(mean='"hot cold", "cold hot"'),
        "said twice: the maximum is the same, too": alike(mean='"hot cold", "cold hot hot cold"'),
        "a repeated word: the first is the same, too": alike(max='"hot cold", "hot cold cold cold"'),
        "the same text twice": alike(cls='"tea hot", "tea hot"'),
        "another order behind the first word": alike(cls='"tea hot cold", "tea cold hot"'),
        "means that are only near": alike(mean='"hot cold", "warm warm tea"'),
        "the first words differ": alike(cls='"hot tea", "cold tea"'),
        "a word that has no vector": alike(cls='"ice hot", "ice cold"'),
        "too many words": alike(max='"hot cold cold cold cold cold cold", "cold hot hot hot hot hot hot"'),
        "an empty text": alike(cls='"", "tea"'),
        "one pooling is missing": 'alike = {"cls": ("tea hot", "tea cold"), "mean": ("hot cold", "warm")}',
        "three texts": alike(cls='"tea hot", "tea cold", "tea milk"'),
    },
}
