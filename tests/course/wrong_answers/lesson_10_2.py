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
        "the library's mean of rows": """import importlib


def cosines(hidden_a, mask_a, hidden_b, mask_b, pooling):
    embed = importlib.import_module("minillm.search.static_encoder").embed_batch

    def pool(hidden, mask):
        if pooling == "max":
            return F.normalize(hidden.masked_fill(mask[:, :, None] == 0, -torch.inf).amax(1), dim=1)
        places = torch.arange(mask.numel()).reshape(mask.shape)
        rows = [one[kept == 1].tolist()[: 1 if pooling == "cls" else None] for one, kept in zip(places, mask)]
        return embed(hidden.flatten(0, 1), rows)

    return pool(hidden_a, mask_a) @ pool(hidden_b, mask_b).T""",
        "the cosine out of the library's loss": """import importlib


def cosines(hidden_a, mask_a, hidden_b, mask_b, pooling):
    loss = importlib.import_module("minillm.search.losses").cosine_similarity_loss

    def pool(hidden, mask):
        real = hidden[mask == 1].double()
        return (real[:1] if pooling == "cls" else getattr(real, "a" * (pooling == "max") + pooling)(0, keepdim=True))

    sides = [[pool(*one) for one in zip(*side)] for side in ((hidden_a, mask_a), (hidden_b, mask_b))]
    return [[1 - loss(u, v, torch.ones(1)).sqrt() for v in sides[1]] for u in sides[0]]""",
        "the mean counts padding": cosines(mean="hidden.mean(1)"),
        "a sum without padding, a count with it, and no unit length": cosines(
            mean="(hidden * weights).sum(1) / hidden.shape[1]",
            units="(pool(*side) for side in (first, second))",
        ),
        "the mean has padding in its sum": cosines(mean="hidden.sum(1) / weights.sum(1)"),
        "the maximum takes padding": cosines(max="hidden.amax(1)"),
        "padding is zero in the maximum": cosines(max="(hidden * weights).amax(1)"),
        "padding is -100 in the maximum": cosines(max="hidden.masked_fill(weights == 0, -100.0).amax(1)"),
        "the maximum over the shortest text": cosines(max="hidden[:, : int(mask.sum(1).min())].amax(1)"),
        "cls is the last token": cosines(cls="hidden[torch.arange(len(hidden)), mask.sum(1) - 1]"),
        "the mean leaves out [CLS]": cosines(
            mean="((hidden * weights).sum(1) - hidden[:, 0]) / (weights.sum(1) - 1).clamp(min=1)"
        ),
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
        "the library's poolings, copied out of their dict": """MINE = dict(POOLINGS)


def cosines(hidden_a, mask_a, hidden_b, mask_b, pooling):
    u, v = (F.normalize(MINE[pooling](*side), dim=1) for side in ((hidden_a, mask_a), (hidden_b, mask_b)))
    return u @ v.T
""",
        "the library's poolings in a list": """MINE = [first_token, mean_of_tokens, max_of_tokens]


def cosines(hidden_a, mask_a, hidden_b, mask_b, pooling):
    pool = MINE[("cls", "mean", "max").index(pooling)]
    u, v = (F.normalize(pool(*side), dim=1) for side in ((hidden_a, mask_a), (hidden_b, mask_b)))
    return u @ v.T
""",
        "the library's poolings in a closure": """def make(pools):
    def cosines(hidden_a, mask_a, hidden_b, mask_b, pooling):
        u, v = (F.normalize(pools[pooling](*side), dim=1) for side in ((hidden_a, mask_a), (hidden_b, mask_b)))
        return u @ v.T

    return cosines


cosines = make(dict(POOLINGS))
""",
        "the library's mean in a partial": "import functools\n\nmean = functools.partial(mean_of_tokens)\n\n\n"
        + cosines(mean="mean(hidden, mask)"),
        "prints instead of returning": cosines().replace("return u @ v.T", "print(u @ v.T)"),
        "in half precision": cosines(result="(u.half() @ v.half().T).float()"),
        "keeps the first answer for its shapes": "SEEN = {}\n\n\n"
        + cosines(
            units="(F.normalize(pool(*side), dim=1) for side in (first, second))",
            result="SEEN.setdefault((pooling, hidden_a.shape, hidden_b.shape), u @ v.T)",
        ),
        "one long list": cosines(result="(u @ v.T).flatten().tolist()"),
        "lengths in absolute values": cosines(
            units="(F.normalize(pool(*side), p=1, dim=1) for side in (first, second))"
        ),
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
        "pairs without those of the other order": "prediction = (7000, 8600, 28500)",
        "in another order": "prediction = (430000, 7000, 28500)",
        "all in one": "prediction = [(7000, 430000, 28500)]",
        "the second stage reads all pairs": "prediction = (7000, 430000, 437000)",
        "no number": "prediction = (7000, 430000, float('nan'))",
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
        "two poolings changed places": 'alike = {"mean": ("tea hot", "tea cold"), "cls": ("hot cold", "warm"), '
        '"max": ("hot cold cold cold", "cold hot hot hot")}',
        "a text for a pair": alike(cls='"tea hot"'),
        "a list of pairs": 'alike = [("tea hot", "tea cold"), ("hot cold", "warm"), ("tea", "tea")]',
        "a fourth pooling": 'alike = {"cls": ("tea hot", "tea cold"), "mean": ("hot cold", "warm"), '
        '"max": ("hot cold cold cold", "cold hot hot hot"), "min": ("hot", "cold")}',
        "vectors for texts": 'alike = {name: (TOY["hot"], TOY["hot"]) for name in ("cls", "mean", "max")}',
        "capitals": alike(cls='"Tea hot", "Tea cold"'),
        "the means point the same way": alike(max='"hot cold", "cold hot"'),
        "three texts": alike(cls='"tea hot", "tea cold", "tea milk"'),
    },
}
