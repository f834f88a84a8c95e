"""Plausible wrong answers to the exercises of lesson 02_7."""

COUNT = """def count(vocab, width, layers, heads, hidden, places, types):
    norm = {norm}
    tables = (vocab + places + types) * width + {first}
    attention = {attention}
    feed_forward = {feed_forward}
    return tables + layers * (attention + feed_forward + {norms} * norm) + {pooler}"""
SUMS = {"norm": "2 * width", "first": "norm", "attention": "4 * (width * width + width)",
        "feed_forward": "2 * width * hidden + hidden + width", "norms": "2",
        "pooler": "width * width + width"}  # fmt: skip

READ = """def read(tensors, ids, types, mask, heads):
    def linear(x, name):
        return x @ tensors[f"{{name}}.weight"].T + {bias}

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], tensors[f"{{name}}.weight"], tensors[f"{{name}}.bias"], {eps})

    E, P, S = (tensors[f"embeddings.{{kind}}_embeddings.weight"] for kind in ("word", "position", "token_type"))
    x, i = {first}, 0
    for i in range({layers}):
        block = f"encoder.layer.{{i}}"
        q, k, v = (linear(x, f"{{block}}.attention.self.{{part}}"){cut} for part in ("query", "key", "value"))
        scores = {scores}
        scores = {hidden}
        y = (scores.softmax({dim}) @ v).transpose(1, 2).flatten(2)
        {attended}
        y = linear({act}(linear(x, f"{{block}}.intermediate.dense")), f"{{block}}.output.dense")
        x = norm(x + y, f"{{block}}.output.LayerNorm")
    return {result}"""
BODY = {
    "bias": 'tensors[f"{name}.bias"]', "eps": "1e-12", "dim": "-1", "act": "F.gelu",
    "first": 'norm(E[ids] + P[: ids.shape[1]] + S[types], "embeddings.LayerNorm")',
    "layers": 'sum(name.endswith("intermediate.dense.bias") for name in tensors)',
    "cut": ".unflatten(-1, (heads, -1)).transpose(1, 2)",
    "scores": "q @ k.mT / q.shape[-1] ** 0.5",
    "hidden": "scores.masked_fill(mask[:, None, None] == 0, -torch.inf)",
    "attended": 'x = norm(x + linear(y, f"{block}.attention.output.dense"), f"{block}.attention.output.LayerNorm")',
    "result": 'x, torch.tanh(linear(x[:, 0], "pooler.dense"))',
}  # fmt: skip
PRE_NORM = 'x = x + linear(y, f"{block}.attention.output.dense"); x = norm(x, f"{block}.output.LayerNorm")'
READY = """def read(tensors, ids, types, mask, heads):
    width = tensors["pooler.dense.bias"].numel()
    layers = sum(name.endswith("intermediate.dense.bias") for name in tensors)
    vocab = len(tensors["embeddings.word_embeddings.weight"])
    model = BERT(BERTConfig(vocab_size=vocab, hidden_size=width, num_hidden_layers=layers,
        num_attention_heads=heads, intermediate_size=tensors["encoder.layer.0.intermediate.dense.bias"].numel(),
        max_position_embeddings=len(tensors["embeddings.position_embeddings.weight"]),
        type_vocab_size=len(tensors["embeddings.token_type_embeddings.weight"])))
    model.load_state_dict(model.from_hugging_face(tensors))
    out = model(ids, mask, types)
    return out.last_hidden_state, out.pooler_output"""


def count(**parts):
    """The right count, with some of its sums put otherwise."""
    return COUNT.format(**SUMS | parts)


def read(**parts):
    """The right body, with some of its parts put otherwise."""
    return READ.format(**BODY | parts)


FUSED = """def read(tensors, ids, types, mask, heads):
    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"], 1e-12)

    E, P, S = (tensors[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type"))
    x, i = norm(E[ids] + P[: ids.shape[1]] + S[types], "embeddings.LayerNorm"), 0
    while f"encoder.layer.{i}.output.dense.weight" in tensors:
        def both(name):
            return [tensors[f"encoder.layer.{i}.{name}.{kind}"] for kind in ("weight", "bias")]

        qkv = [torch.cat(parts) for parts in zip(*(both(f"attention.self.{p}") for p in ("query", "key", "value")))]
        """
BLOCK_OP = (
    FUSED
    + """x = torch._transformer_encoder_layer_fwd(
            x, x.shape[-1], heads, *qkv, *both("attention.output.dense"), True, False, 1e-12,
            *both("attention.output.LayerNorm"), *both("output.LayerNorm"), *both("intermediate.dense"),
            *both("output.dense"), mask == 0, 1)
        i += 1
    return x, torch.tanh(x[:, 0] @ tensors["pooler.dense.weight"].T + tensors["pooler.dense.bias"])"""
)
ATTENTION_OP = (
    FUSED
    + """y = torch._native_multi_head_attention(
            x, x, x, x.shape[-1], heads, *qkv, *both("attention.output.dense"), mask == 0, False, True, 1)[0]
        x = norm(x + y, f"encoder.layer.{i}.attention.output.LayerNorm")
        y = F.linear(F.gelu(F.linear(x, *both("intermediate.dense"))), *both("output.dense"))
        x, i = norm(x + y, f"encoder.layer.{i}.output.LayerNorm"), i + 1
    return x, torch.tanh(x[:, 0] @ tensors["pooler.dense.weight"].T + tensors["pooler.dense.bias"])"""
)

WRONG = {
    "02-7-a": {
        "forgets the biases of attention": count(attention="4 * width * width"),
        "forgets the output matrix of attention": count(attention="3 * (width * width + width)"),
        "counts each head as wide as the model": count(attention="4 * heads * width * width + 4 * width"),
        "forgets the norm of the embeddings": count(first="0"),
        "a norm at the end, as in GPT-2": count(first="2 * norm"),
        "one norm a block": count(norms="1"),
        "norms without a shift": count(norm="width"),
        "hidden is always four times the width": count(feed_forward="8 * width * width + 5 * width"),
        "forgets the pooler": count(pooler="0"),
        "forgets the biases of the feed-forward": count(feed_forward="2 * width * hidden"),
        "forgets the types": count().replace("vocab + places + types", "vocab + places"),
        "an output matrix besides": count(pooler="width * width + width + vocab * width"),
        "only the published one": "def count(*sizes):\n    return 109_482_240",
        "builds it": """def count(vocab, width, layers, heads, hidden, places, types):
    model = BERT(BERTConfig(vocab_size=vocab, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=hidden, max_position_embeddings=places, type_vocab_size=types))
    return sum(p.numel() for p in model.parameters())""",
    },
    "02-7-b": {
        "forgets the biases": read(bias="0"),
        "another ε": read(eps="1e-5"),
        "softmax over the queries": read(dim="-2"),
        "the GELU of GPT-2": read(act='functools.partial(F.gelu, approximate="tanh")').replace(
            "def read", "import functools\n\n\ndef read"
        ),
        "a ReLU": read(act="F.relu"),
        "no types": read(first='norm(E[ids] + P[: ids.shape[1]] + S[0], "embeddings.LayerNorm")'),
        "no places": read(first='norm(E[ids] + S[types], "embeddings.LayerNorm")'),
        "the places of RoBERTa": read(
            first='norm(E[ids] + P[(mask.cumsum(1) - 1) * mask] + S[types], "embeddings.LayerNorm")'
        ),
        "no norm on the embeddings": read(first="E[ids] + P[: ids.shape[1]] + S[types]"),
        "at most ten blocks": read(layers='len({name[14] for name in tensors if "layer" in name[:13]})'),
        "two blocks": read(layers="2"),
        "heads across the columns": read(cut=".unflatten(-1, (-1, heads)).permute(0, 3, 1, 2)"),
        "one head": read(cut="[:, None]"),
        "no root": read(scores="q @ k.mT"),
        "the root of the width": read(scores="q @ k.mT / x.shape[-1] ** 0.5"),
        "no mask": read(hidden="scores"),
        "a causal mask": read(
            hidden="scores.masked_fill((mask[:, None, None] == 0).expand_as(scores) | "
            "torch.ones(ids.shape[1], ids.shape[1]).triu(1).bool(), -1e9)"
        ),
        "the mask is the wrong way round": read(hidden="scores.masked_fill(mask[:, None, None] == 1, -1e9)"),
        "the wrong norm": read(attended=PRE_NORM),
        "no residual": read(attended=BODY["attended"].replace("x + linear", "linear")),
        "the pooler on the mean": read(result='x, torch.tanh(linear(x.mean(1), "pooler.dense"))'),
        "the pooler without tanh": read(result='x, linear(x[:, 0], "pooler.dense")'),
        "the vectors only": read(result="x"),
        "the library's": READY,
        "torch's operation for a whole block": BLOCK_OP,
        "torch's operation for a whole attention": ATTENTION_OP,
        "another package's": """def read(tensors, ids, types, mask, heads):
    from transformers import BertConfig, BertModel

    model = BertModel(BertConfig(num_attention_heads=heads))
    return model(ids, mask, types)[:2]""",
    },
    "02-7-c": {
        "padding on the right": "batch = [[5, 6, 7, 0, 0]], [[1, 1, 1, 0, 0]]",
        "no padding": "batch = [[5, 6, 7, 8, 9]], [[1, 1, 1, 1, 1]]",
        "padding in the middle": "batch = [[5, 0, 6, 7, 0]], [[1, 0, 1, 1, 0]]",
        "a masked word": "batch = [[5, 3, 6, 7, 2]], [[0, 0, 1, 1, 1]]",
        "padding that is not masked": "batch = [[0, 0, 5, 6, 7]], [[1, 1, 1, 1, 1]]",
        "one row of padding only": "batch = [[0, 0, 5], [0, 0, 0]], [[0, 0, 1], [0, 0, 0]]",
        "one number": "batch = [[0, 5]], [[0, 1, 1]]",
        "ids outside the vocabulary": "batch = [[0, 12]], [[0, 1]]",
        "the mask alone": "batch = [[0, 0, 1, 1]]",
        "no rows": "batch = [], []",
        "masks upside down": "batch = [[0, 0, 5, 6]], [[1, 1, 0, 0]]",
    },
    "02-7-d": {
        "all": "changes = [True] * 6",
        "none": "changes = [False] * 6",
        "the decoder does not see the source": "changes = [True, False, False, False, False, True]",
        "a window is a window": "changes = [True, False, False, True, False, False]",
        "the encoder sees the answer": "changes = [True, False, True, True, False, True]",
        "every model looks ahead": "changes = [True, True, False, True, False, True]",
        "five answers": "changes = [True, False, False, True, False]",
        "words": 'changes = ["yes", "no", "no", "yes", "no", "yes"]',
    },
}
