"""Plausible wrong answers to the exercises of lesson 02_3."""

ATTEND = """def attend(query, keys, values):
    scale = {scale}
    scores = [scale * sum(a * b for a, b in zip(query, key)) for key in keys]
    powers = [math.exp({score}) for score in scores]
    shares = [power / {total} for power in powers]
    return [sum(share * value[i] for share, value in zip(shares, values)) for i in range(len(values[0]))]"""
RIGHT = {"scale": "1 / math.sqrt(len(query))", "score": "score - max(scores)", "total": "sum(powers)"}

CATCHES = """def attend(query, keys, values):
    scores = [sum(a * b for a, b in zip(query, key)) / math.sqrt(len(query)) for key in keys]
    try:
        powers = [math.exp(score) for score in scores]
    except OverflowError:
        return values[scores.index(max(scores))]
    return [sum(p * value[i] for p, value in zip(powers, values)) / sum(powers) for i in range(len(values[0]))]"""

VISIBLE = """def visible(T, S, window=None):
    rows = []
    for t in range(T):
        here = {here}
        first = 0 if window is None else {first}
        rows.append([first <= s {upto} for s in range(S)])
    return rows"""
SEEN = {"here": "S - T + t", "first": "here - window + 1", "upto": "<= here"}

LAYER = """def multi_head(x, w_q, w_k, w_v, w_o, heads, kv_heads, mask=None, context=None):
    B, T, C = x.shape
    source = {source}
    S = {length}
    q = (x @ w_q.T).view(B, T, heads, -1).transpose(1, 2)
    k = (source @ w_k.T).view(B, S, kv_heads, -1).transpose(1, 2)
    v = ({valued} @ w_v.T).view(B, S, kv_heads, -1).transpose(1, 2)
    share = heads // kv_heads
    k, v = {share}
    scores = q @ k.transpose(-2, -1) / {root}
    if mask is not None:
        scores = scores.masked_fill({hidden}, {low})
    y = {zeros}(torch.softmax(scores, dim={dim})) @ v
    return {joined}.flatten(2) @ w_o.T"""
SHARED = {
    "source": "x if context is None else context",
    "length": "source.shape[1]",
    "valued": "source",
    "share": "k.repeat_interleave(share, dim=1), v.repeat_interleave(share, dim=1)",
    "root": "math.sqrt(q.shape[-1])",
    "hidden": "~mask[:, None]",
    "low": "-torch.inf",
    "zeros": "torch.nan_to_num",
    "dim": "-1",
    "joined": "y.transpose(1, 2)",
}
FUSED = """def multi_head(x, w_q, w_k, w_v, w_o, heads, kv_heads, mask=None, context=None):
    B, T, C = x.shape
    source = x if context is None else context
    mask = None if mask is None else mask[:, None]
    q = (x @ w_q.T).view(B, T, heads, -1).transpose(1, 2)
    k, v = ((source @ w.T).view(B, source.shape[1], kv_heads, -1).transpose(1, 2) for w in (w_k, w_v))
    return {call}.transpose(1, 2).flatten(2) @ w_o.T"""

BREAKS = """def breaks(scores):
    T, S = scores.shape
    late = {weights}(scores[0], dim=-1)[{late}].sum()
    hidden = {weights}(scores[-1], dim=-1)[{hidden}].sum()
    return late.item(), hidden.item()"""
BROKEN = {"weights": "torch.softmax", "late": "S - T + 1 :", "hidden": "T:"}

WRONG = {
    "02-3-a": {
        "numpy's arrays": "import numpy as np\n\n\ndef attend(query, keys, values):\n"
        "    scores = np.array(keys) @ np.array(query) / len(query) ** 0.5\n"
        "    shares = np.exp(scores - scores.max())\n"
        "    return list(shares @ np.array(values) / shares.sum())",
        "forgets to divide by √D": ATTEND.format(**RIGHT | {"scale": "1"}),
        "divides by D": ATTEND.format(**RIGHT | {"scale": "1 / len(query)"}),
        "overflows": ATTEND.format(**RIGHT | {"score": "score"}),
        "subtracts the first score": ATTEND.format(**RIGHT | {"score": "score - scores[0]"}),
        "subtracts the mean": ATTEND.format(**RIGHT | {"score": "score - sum(scores) / len(scores)"}),
        "catches the overflow": CATCHES,
        "cuts large scores": ATTEND.format(**RIGHT | {"score": "min(score, 700)"}),
        "shares do not add up to one": ATTEND.format(**RIGHT | {"total": "len(powers)"}),
        "divides by the number of keys": ATTEND.format(**RIGHT | {"scale": "1 / math.sqrt(len(keys))"}),
        "the library's": """def attend(query, keys, values):
    q, k, v = (torch.tensor(one, dtype=torch.float64) for one in ([query], keys, values))
    return attention(q[None, None], k[None, None], v[None, None])[0, 0, 0].tolist()""",
        "torch's softmax": """def attend(query, keys, values):
    q, k, v = (torch.tensor(one, dtype=torch.float64) for one in (query, keys, values))
    return (torch.softmax(k @ q / len(query) ** 0.5, dim=0) @ v).tolist()""",
        "torch's log_softmax": """def attend(query, keys, values):
    scores = torch.DoubleTensor(keys) @ torch.DoubleTensor(query) / len(query) ** 0.5
    return (torch.log_softmax(scores, 0).exp() @ torch.DoubleTensor(values)).tolist()""",
        "numpy's inner product": """import numpy as np


def attend(query, keys, values):
    scores = np.inner(keys, query) / len(query) ** 0.5
    shares = np.exp2((scores - scores.max()) * np.log2(np.e))
    return [float(one) for one in np.inner(list(zip(*values)), shares) / shares.sum()]""",
        "numpy's arrays by another name": """import numpy as np


def attend(query, keys, values):
    scores = np.asanyarray(keys).dot(np.asanyarray(query)) / len(query) ** 0.5
    shares = np.power(np.e, scores - scores.max())
    return (shares / shares.sum() @ np.asanyarray(values)).tolist()""",
        "numpy's stack": """def attend(query, keys, values):
    import numpy as np

    scores = (np.stack(keys) * np.stack(query)).sum(1) / len(query) ** 0.5
    shares = np.power(np.e, scores - scores.max())
    return ((shares[:, None] * np.stack(values)).sum(0) / shares.sum()).tolist()""",
        "says that it is equal": """class Equal(list):
    __eq__ = lambda self, other: True
    __len__ = lambda self: 2


def attend(query, keys, values):
    return Equal(values[0])""",
    },
    "02-3-b": {
        "aligned to the first key": VISIBLE.format(**SEEN | {"here": "t"}),
        "off by one": VISIBLE.format(**SEEN | {"here": "S - T + t + 1"}),
        "does not see itself": VISIBLE.format(**SEEN | {"upto": "< here"}),
        "window without the token itself": VISIBLE.format(**SEEN | {"first": "here - window"}),
        "a window on both sides": VISIBLE.format(**SEEN | {"upto": "<= here + (window or 1) - 1"}),
        "ignores the window": VISIBLE.format(**SEEN | {"first": "0"}),
        "sees everything": VISIBLE.format(**SEEN | {"upto": "< S"}),
        "the library's": "def visible(T, S, window=None):\n    return causal_mask(T, S)",
        "the library's window": "def visible(T, S, window=None):\n    return window_mask(T, S, window or S)",
        "the library's window by another way": "def visible(T, S, window=None):\n"
        "    import importlib\n"
        "    return importlib.import_module('minillm.nn').window_mask(T, S, window or S)",
    },
    "02-3-c": {
        "every other head shares": LAYER.format(
            **SHARED | {"share": "k.repeat(1, share, 1, 1), v.repeat(1, share, 1, 1)"}
        ),
        "always one key head": LAYER.format(
            **SHARED | {"share": "k[:, :1].expand_as(q), v[:, :1].expand_as(q)"}
        ),
        "forgets √D": LAYER.format(**SHARED | {"root": "1"}),
        "√ of the model's width over heads": LAYER.format(**SHARED | {"root": "math.sqrt(C / heads)"}),
        "softmax over the queries": LAYER.format(**SHARED | {"dim": "-2"}),
        "does not share": LAYER.format(**SHARED | {"share": "k, v"}),
        "mask the other way round": LAYER.format(**SHARED | {"hidden": "mask[:, None]"}),
        "ignores the mask": LAYER.format(**SHARED | {"hidden": "torch.zeros_like(mask)[:, None]"}),
        "the first text's mask for all": LAYER.format(**SHARED | {"hidden": "~mask[:1, None]"}),
        "the first query's mask for all": LAYER.format(**SHARED | {"hidden": "~mask[:, None, :1]"}),
        "NaN where nothing may be seen": LAYER.format(**SHARED | {"zeros": ""}),
        "a mean where nothing may be seen": LAYER.format(**SHARED | {"low": "-1e9"}),
        "a small penalty": LAYER.format(**SHARED | {"low": "-5.0"}),
        "zeros in place of -∞": LAYER.format(**SHARED | {"low": "0.0"}),
        "ignores the context": LAYER.format(
            **SHARED | {"source": "x", "hidden": "~mask[:, None, :, :T] if mask.shape[2] >= T else False"}
        ),
        "values of x": LAYER.format(**SHARED | {"valued": "x"}),
        "keys cut by the length of the queries": LAYER.format(**SHARED | {"length": "T"}),
        "joins without putting tokens first": LAYER.format(
            **SHARED | {"joined": "y.reshape(B, T, heads, -1)"}
        ),
        "torch's fused kernel": FUSED.format(
            call="F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=heads != kv_heads)"
        ),
        "torch's fused kernel by its other name": FUSED.format(
            call="torch._C._nn.scaled_dot_product_attention(q, k, v, mask, enable_gqa=heads != kv_heads)"
        ),
        "the library's": FUSED.format(call="attention(q, k, v, mask)"),
    },
    "02-3-d": {
        "counts the token itself as later": BREAKS.format(**BROKEN | {"late": "S - T :"}),
        "forgets the cache": BREAKS.format(**BROKEN | {"late": "1:"}),
        "the mask one key later": BREAKS.format(**BROKEN | {"hidden": "T + 1 :"}),
        "the mask of the first query": BREAKS.format(**BROKEN | {"hidden": "1:"}),
        "no softmax": BREAKS.format(**BROKEN | {"weights": "(lambda one, dim: one)"}),
        "the right masks": "def breaks(scores):\n    return 0.0, 0.0",
        "counts keys": "def breaks(scores):\n    T, S = scores.shape\n    return (T - 1) / S, (S - T) / S",
    },
}
