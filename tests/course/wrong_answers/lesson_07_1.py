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

    def attend(self, layer, q, k, v, **options):
        if self.stored[{layer}] is not None:
            old_k, old_v = self.stored[{layer}]
            k, v = torch.cat({order}, dim={dim}), torch.cat((old_v, v), dim={dim})
        self.stored[{layer}] = {kept}
        return {attended}

    def crop(self, length):
        self.stored = [None if pair is None else tuple(x[:, :, {crop}] for x in pair) for pair in self.stored]"""
FINE = {
    "length": "min(0 if pair is None else pair[0].shape[2] for pair in self.stored)",
    "layer": "layer",
    "order": "(old_k, k)",
    "dim": "2",
    "kept": "k, v",
    "attended": "attention(q, k, v, **options)",
    "crop": ":length",
}
FIRST = "0 if self.stored[0] is None else self.stored[0][0].shape[2]"

RESERVES = """class ListCache:
    def __init__(self, layers):
        self.count, self.rows = [0] * layers, [None] * layers

    @property
    def length(self):
        return min(self.count)

    def attend(self, layer, q, k, v, **options):
        if self.rows[layer] is None:
            B, K, _, D = k.shape
            self.rows[layer] = torch.zeros(2, B, K, 512, D)
        start, stop = self.count[layer], self.count[layer] + k.shape[2]
        self.rows[layer][0, :, :, start:stop], self.rows[layer][1, :, :, start:stop] = k, v
        self.count[layer] = stop
        return attention(q, *self.rows[layer][:, :, :, :stop], **options)

    def crop(self, length):
        self.count = [min(length, n) for n in self.count]"""

LIBRARY = """class ListCache:
    def __init__(self, layers):
        self.layers, self.cache = layers, None

    @property
    def length(self):
        return 0 if self.cache is None else self.cache.length

    def attend(self, layer, q, k, v, **options):
        from types import SimpleNamespace

        {imported}
        if self.cache is None:
            shape = SimpleNamespace(num_layers=self.layers, kv_heads=k.shape[1], head_dim=k.shape[3])
            self.cache = {made}(shape, k.shape[0], 12)
        return self.cache.attend(layer, q, k, v, **options)

    def crop(self, length):
        self.cache.crop(length)"""

SUBCLASS = """class ListCache(KVCache):
    def __init__(self, layers):
        self.layers, self.length = layers, 0

    def attend(self, layer, q, k, v, **options):
        if not hasattr(self, "keys"):
            super().__init__(Shape(self.layers, k.shape[1], k.shape[3]), k.shape[0], 12)
        return super().attend(layer, q, k, v, **options)


class Shape:
    def __init__(self, num_layers, kv_heads, head_dim):
        self.num_layers, self.kv_heads, self.head_dim = num_layers, kv_heads, head_dim"""

LYING = (
    """class Anything(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


"""
    + CACHE
)

BYTES = """def cache_bytes(config, texts, tokens, size):
    rows = sum({rows} for window in config.windows)
    return {two} * rows * {width} * texts * size"""
FITS = {
    "rows": "tokens if window is None else min(window, tokens)",
    "two": "2",
    "width": "config.kv_heads * config.head_dim",
}

LOST = """def surprise(model, ids, prompt, place):
    cache = model.new_cache(1, len(ids))
    losses = []
    with torch.no_grad():
        start = 0
        for stop in range(prompt, len(ids)):
            positions = torch.tensor([[{position} for n in range(start, stop)]])
            logits = model(torch.tensor([ids[start:stop]]), cache=cache, position_ids=positions).logits[0, -1]
            losses.append(-logits.log_softmax(-1)[ids[{target}]].item())
            start = stop
    return {mean}


shows = "{shows}"
reason = "{reason}" """
FOUND = {
    "position": "place(n)",
    "target": "stop",
    "mean": "sum(losses) / len(losses)",
    "shows": "c",
    "reason": "b",
}
WHOLE = """def surprise(model, ids, prompt, place):
    positions = torch.tensor([[place(n) for n in range(len(ids))]])
    with torch.no_grad():
        logits = model(torch.tensor([ids]), position_ids=positions).logits[0]
    return torch.nn.functional.cross_entropy(logits[prompt - 1 : -1], torch.tensor(ids[prompt:])).item()


shows, reason = "c", "b" """

WRONG = {
    "07-1-a": {
        "reads the last token too": COUNT.format(**RIGHT | {"cached": "prompt + new"}),
        "counts the first pass one token late": COUNT.format(
            **RIGHT | {"uncached": "sum(prompt + i + 1 for i in range(new))"}
        ),
        "reads the same length every time": COUNT.format(**RIGHT | {"uncached": "prompt * new"}),
        "thinks only new tokens are computed": COUNT.format(**RIGHT | {"cached": "new"}),
        "ignores whether there is a cache": "def tokens_computed(prompt, new, cache):\n    return prompt + new - 1",
        "a number that is equal to everything": """class Anything(int):
    def __eq__(self, other):
        return True


def tokens_computed(prompt, new, cache):
    return Anything(7)""",
    },
    "07-1-b": {
        "one store for all layers": CACHE.format(**FINE | {"layer": "0"}),
        "new tokens in front": CACHE.format(**FINE | {"order": "(k, old_k)"}),
        "length of the first layer": CACHE.format(**FINE | {"length": FIRST}),
        "crops from the wrong end": CACHE.format(**FINE | {"crop": "-length:"}),
        "joins heads instead of tokens": CACHE.format(**FINE | {"dim": "1"}),
        "keeps the newest only": CACHE.format(**FINE | {"kept": "k[:, :, -1:], v[:, :, -1:]"}),
        "keeps a mean over the texts": CACHE.format(
            **FINE | {"kept": "k.mean(0, True).expand_as(k), v.mean(0, True).expand_as(v)"}
        ),
        "is always causal and forgets the options": CACHE.format(
            **FINE | {"attended": "attention(q, k, v, causal=True)"}
        ),
        "reserves room for 512 tokens": RESERVES,
        "the library's own, imported inside": LIBRARY.format(
            imported="from minillm.nn import KVCache as Store", made="Store"
        ),
        "the library's own, found by its name": LIBRARY.format(
            imported='import importlib\n\n        nn = importlib.import_module("mini" + "llm.nn")',
            made='getattr(nn, "KV" + "Cache")',
        ),
        "a subclass of the library's own": SUBCLASS,
        "a length that is equal to everything": LYING.format(**FINE | {"length": "Anything(4)"}),
    },
    "07-1-c": {
        "forgets that K and V are two": BYTES.format(**FITS | {"two": "1"}),
        "uses the model's width": BYTES.format(**FITS | {"width": "config.width"}),
        "uses all heads": BYTES.format(**FITS | {"width": "config.num_attention_heads * config.head_dim"}),
        "forgets the windows": BYTES.format(**FITS | {"rows": "tokens"}),
        "takes the window even of a shorter text": BYTES.format(**FITS | {"rows": "window or tokens"}),
        "the library's own": """def cache_bytes(config, texts, tokens, size):
    dtype = {1: torch.int8, 2: torch.float16, 4: torch.float32}[size]
    windows = [tokens if window is None else min(window, tokens) for window in config.windows]
    return sum(kv_cache_bytes(config, texts, n, dtype) for n in windows) // config.num_layers""",
    },
    "07-1-d": {
        "ignores the places": LOST.format(**FOUND | {"position": "n"}),
        "counts places from zero in each pass": LOST.format(**FOUND | {"position": "place(n - start)"}),
        "scores the token that was read": LOST.format(**FOUND | {"target": "stop - 1"}),
        "adds the losses up": LOST.format(**FOUND | {"mean": "sum(losses)"}),
        "the whole text in one pass": WHOLE,
        "thinks that time shows it": LOST.format(**FOUND | {"shows": "a"}),
        "thinks that rows are overwritten": LOST.format(**FOUND | {"reason": "a"}),
        "thinks that the mask hides the prompt": LOST.format(**FOUND | {"reason": "c"}),
    },
}
