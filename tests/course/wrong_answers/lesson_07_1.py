"""Plausible wrong answers to the exercises of lesson 07_1."""

COUNT = """def tokens_computed(prompt, new, cache):
    if cache:
        return {cached}
    return {uncached}"""
RIGHT = {"cached": "prompt + new - 1", "uncached": "sum(prompt + i for i in range(new))"}

CACHE = """class ListCache:
    def __init__(self, layers):
        self.stored = [None] * layers

    @property
    def length(self):
        return {length}

    def update(self, layer, k, v):
        if self.stored[{layer}] is not None:
            old_k, old_v = self.stored[{layer}]
            k, v = torch.cat({order}, dim={dim}), torch.cat((old_v, v), dim={dim})
        self.stored[{layer}] = k, v
        return k, v

    def crop(self, length):
        self.stored = [None if pair is None else tuple(x[:, :, {crop}] for x in pair) for pair in self.stored]"""
FINE = {
    "length": "min(0 if pair is None else pair[0].shape[2] for pair in self.stored)",
    "layer": "layer",
    "order": "(old_k, k)",
    "dim": "2",
    "crop": ":length",
}

USERS = """def users(config, memory, weights, tokens, size=2):
    one_text = {one}
    return {answer}"""
FITS = {
    "one": "2 * config.num_layers * config.kv_heads * config.head_dim * tokens * size",
    "answer": "max(0, (memory - weights) // one_text)",
}

WRONG = {
    "07-1-a": {
        "reads the last token too": COUNT.format(**RIGHT | {"cached": "prompt + new"}),
        "counts the first pass one token late": COUNT.format(
            **RIGHT | {"uncached": "sum(prompt + i + 1 for i in range(new))"}
        ),
        "reads the same length every time": COUNT.format(**RIGHT | {"uncached": "prompt * new"}),
        "thinks only new tokens are computed": COUNT.format(**RIGHT | {"cached": "new"}),
    },
    "07-1-b": {
        "one store for all layers": CACHE.format(**FINE | {"layer": "0"}),
        "new tokens in front": CACHE.format(**FINE | {"order": "(k, old_k)"}),
        "length of the first layer": CACHE.format(
            **FINE | {"length": "0 if self.stored[0] is None else self.stored[0][0].shape[2]"}
        ),
        "crops from the wrong end": CACHE.format(**FINE | {"crop": "-length:"}),
        "joins heads instead of tokens": CACHE.format(**FINE | {"dim": "1"}),
    },
    "07-1-c": {
        "forgets that K and V are two": USERS.format(
            **FITS | {"one": "config.num_layers * config.kv_heads * config.head_dim * tokens * size"}
        ),
        "uses the model's width": USERS.format(
            **FITS | {"one": "2 * config.num_layers * config.width * tokens * size"}
        ),
        "forgets the weights": USERS.format(**FITS | {"answer": "memory // one_text"}),
        "rounds instead of cutting": USERS.format(
            **FITS | {"answer": "max(0, round((memory - weights) / one_text))"}
        ),
        "goes below zero": USERS.format(**FITS | {"answer": "(memory - weights) // one_text"}),
    },
}
