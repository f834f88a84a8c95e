"""Plausible wrong answers to the exercises of lesson 07_1."""

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

LATER = RESERVES.replace(
    """            self.rows[layer] = torch.zeros(2, B, K, 512, D)
        start, stop = self.count[layer], self.count[layer] + k.shape[2]
""",
    """            self.rows[layer] = torch.zeros(2, B, K, k.shape[2], D)
        start, stop = self.count[layer], self.count[layer] + k.shape[2]
        if self.rows[layer].shape[3] < stop:
            room = torch.zeros(*self.rows[layer].shape[:3], 512, k.shape[3])
            room[:, :, :, :start], self.rows[layer] = self.rows[layer], room
""",
)

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

DYNAMIC = """class ListCache:
    def __init__(self, layers):
        from transformers import DynamicCache

        self.cache, self.counts = DynamicCache(), [0] * layers

    @property
    def length(self):
        return min(self.counts)

    def attend(self, layer, q, k, v, **options):
        k, v = self.cache.update(k, v, layer)
        self.counts[layer] = k.shape[2]
        return attention(q, k, v, **options)

    def crop(self, length):
        self.cache.crop(length - max(self.counts))
        self.counts = [min(length, count) for count in self.counts]"""

LYING = (
    """class Anything(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


"""
    + CACHE
)

NUCLEUS = """def nucleus(probabilities, p):
    order = sorted(range(len(probabilities)), key=lambda i: {order})
    kept, total = [], 0.0
    for i in order:
        {before}
        kept.append(i)
        total += probabilities[i]
        {after}
    return {result}"""
CUT = {
    "order": "-probabilities[i]",
    "before": "pass",
    "after": "if total >= p: break",
    "result": "[one / total if i in kept else 0.0 for i, one in enumerate(probabilities)]",
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


harmless = "{harmless}"
reason = "{reason}" """
FOUND = {
    "position": "place(n)",
    "target": "stop",
    "mean": "sum(losses) / len(losses)",
    "harmless": "b",
    "reason": "b",
}
WHOLE = """def surprise(model, ids, prompt, place):
    positions = torch.tensor([[place(n) for n in range(len(ids))]])
    with torch.no_grad():
        logits = model(torch.tensor([ids]), position_ids=positions).logits[0]
    return torch.nn.functional.cross_entropy(logits[prompt - 1 : -1], torch.tensor(ids[prompt:])).item()


harmless, reason = "b", "b" """
TWIN = """def surprise(model, ids, prompt, place):
    twin = type(model)(model.config).eval()
    twin.load_state_dict(model.state_dict())
    positions = torch.tensor([[place(n) for n in range(len(ids))]])
    with torch.no_grad():
        logits = twin(torch.tensor([ids]), position_ids=positions).logits[0]
        for piece in (ids[:prompt], *([one] for one in ids[prompt:-1])):
            model(torch.tensor([piece]))
    return torch.nn.functional.cross_entropy(logits[prompt - 1 : -1], torch.tensor(ids[prompt:])).item()


harmless, reason = "b", "b" """

WRONG = {
    "07-1-a": {
        "reads the last token too": "prediction = [11225, 250, 24576, 64, 3, 2]",
        "counts one pass too many": "prediction = [11475, 249, 24576, 64, 3, 2]",
        "the prompt in every pass": "prediction = [10000, 249, 24576, 64, 3, 2]",
        "the width in place of the key heads": "prediction = [11225, 249, 98304, 16, 3, 2]",
        "keys only": "prediction = [11225, 249, 12288, 128, 3, 2]",
        "forgets the weights": "prediction = [11225, 249, 24576, 128, 3, 2]",
        "drops the token that crosses the line": "prediction = [11225, 249, 24576, 64, 2, 2]",
        "min_p as a probability": "prediction = [11225, 249, 24576, 64, 3, 0]",
        "five numbers": "prediction = [11225, 249, 24576, 64, 3]",
        "words": "prediction = ['11225', '249', '24576', '64', '3', '2']",
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
        "reserves room at the second token": LATER,
        "reserves room in numpy": RESERVES.replace(
            "torch.zeros(2, B, K, 512, D)",
            'torch.from_numpy(__import__("numpy").zeros((2, B, K, 512, D), "f4"))',
        ),
        "one store for all caches": CACHE.format(**FINE).replace("self.stored", "ListCache.stored"),
        "turns the query to zeros": CACHE.format(**FINE).replace(
            "return attention(q, k, v, **options)", "return attention(q, k, v, **options) + 0 * q.zero_()"
        ),
        "the library's own, imported inside": LIBRARY.format(
            imported="from minillm.nn import KVCache as Store", made="Store"
        ),
        "the library's own, found by its name": LIBRARY.format(
            imported='import importlib\n\n        nn = importlib.import_module("mini" + "llm.nn")',
            made='getattr(nn, "KV" + "Cache")',
        ),
        "a subclass of the library's own": SUBCLASS,
        "the cache of transformers": DYNAMIC,
        "a length that is equal to everything": LYING.format(**FINE | {"length": "Anything(4)"}),
    },
    "07-1-c": {
        "drops the token that crosses the line": NUCLEUS.format(
            **CUT | {"before": "if total + probabilities[i] > p: break", "after": "pass"}
        ),
        "the same, but the first one stays": NUCLEUS.format(
            **CUT | {"before": "if kept and total + probabilities[i] > p: break", "after": "pass"}
        ),
        "one more where the sum is exactly p": NUCLEUS.format(**CUT | {"after": "if total > p: break"}),
        "nothing for p = 0": NUCLEUS.format(
            **CUT
            | {
                "before": "if total >= p: break",
                "after": "pass",
                "result": "[one / (total or 1.0) if i in kept else 0.0 for i, one in enumerate(probabilities)]",
            }
        ),
        "does not divide by the sum": NUCLEUS.format(
            **CUT | {"result": "[one if i in kept else 0.0 for i, one in enumerate(probabilities)]"}
        ),
        "in the order of the probabilities": NUCLEUS.format(
            **CUT | {"result": "[probabilities[i] / total if i in kept else 0.0 for i in order]"}
        ),
        "only what is kept": NUCLEUS.format(
            **CUT | {"result": "[probabilities[i] / total for i in sorted(kept)]"}
        ),
        "the last of equals first": NUCLEUS.format(**CUT | {"order": "(-probabilities[i], -i)"}),
        "the list is taken as sorted": NUCLEUS.format(**CUT | {"order": "i"}),
        "the least probable first": NUCLEUS.format(**CUT | {"order": "probabilities[i]"}),
        "all equals of the last one stay": NUCLEUS.format(
            **CUT
            | {
                "result": "(lambda keep: [x / sum(keep) if x in keep else 0.0 for x in probabilities])"
                "([x for x in probabilities if x >= probabilities[kept[-1]]])"
            }
        ),
        "p = 1 keeps the best": NUCLEUS.format(**CUT | {"after": "if total >= p % 1: break"}),
        "changes the list": """def nucleus(probabilities, p):
    total = 0.0
    left = list(probabilities)
    kept = []
    while not kept or total < p:
        i = left.index(max(left))
        kept.append(i)
        total, left[i] = total + left[i], -1.0
    for i in range(len(probabilities)):
        probabilities[i] = probabilities[i] / total if i in kept else 0.0
    return probabilities""",
        "the library's own": """def nucleus(probabilities, p):
    return apply_top_p(torch.tensor(probabilities).log(), p).softmax(-1)""",
        "the library's own, found by its name": """def nucleus(probabilities, p):
    import importlib

    room = importlib.import_module("mini" + "llm.inference")
    return getattr(room, "apply_" + "top_p")(torch.tensor(probabilities).log(), p).softmax(-1)""",
        "min-p": """def nucleus(probabilities, p):
    kept = [x if x >= p * max(probabilities) else 0.0 for x in probabilities]
    return [x / sum(kept) for x in kept]""",
    },
    "07-1-d": {
        "ignores the places": LOST.format(**FOUND | {"position": "n"}),
        "counts places from zero in each pass": LOST.format(**FOUND | {"position": "place(n - start)"}),
        "scores the token that was read": LOST.format(**FOUND | {"target": "stop - 1"}),
        "adds the losses up": LOST.format(**FOUND | {"mean": "sum(losses)"}),
        "the whole text in one pass": WHOLE,
        "a twin of the model does the work": TWIN,
        "thinks that position 0 is harmless": LOST.format(**FOUND | {"harmless": "a"}),
        "thinks that doubled distances are harmless": LOST.format(**FOUND | {"harmless": "c"}),
        "thinks that a jump is harmless": LOST.format(**FOUND | {"harmless": "d"}),
        "thinks that rows are overwritten": LOST.format(**FOUND | {"reason": "a"}),
        "thinks that the mask hides the prompt": LOST.format(**FOUND | {"reason": "c"}),
        "thinks that the embedding changes": LOST.format(**FOUND | {"reason": "d"}),
    },
}
