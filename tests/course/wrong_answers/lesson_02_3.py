"""Plausible wrong answers to the exercises of lesson 02_3."""

ATTEND = """def attend(query, keys, values):
    scale = {scale}
    scores = [scale * sum(a * b for a, b in zip(query, key)) for key in keys]
    powers = [math.exp({score}) for score in scores]
    shares = [power / {total} for power in powers]
    return [sum(share * value[i] for share, value in zip(shares, values)) for i in range(len(values[0]))]"""
RIGHT = {"scale": "1 / math.sqrt(len(query))", "score": "score - max(scores)", "total": "sum(powers)"}

VISIBLE = """def visible(T, S, window=None):
    rows = []
    for t in range(T):
        here = {here}
        first = 0 if window is None else {first}
        rows.append([first <= s {upto} for s in range(S)])
    return rows"""
SEEN = {"here": "S - T + t", "first": "here - window + 1", "upto": "<= here"}

GROUPED = """def grouped(q, k, v):
    share = q.shape[1] // k.shape[1]
    k, v = {share}
    scores = q @ k.transpose(-2, -1) / {root}
    return torch.softmax(scores, dim={dim}) @ v"""
SHARED = {
    "share": "k.repeat_interleave(share, dim=1), v.repeat_interleave(share, dim=1)",
    "root": "math.sqrt(q.shape[-1])",
    "dim": "-1",
}

WRONG = {
    "02-3-a": {
        "forgets to divide by √D": ATTEND.format(**RIGHT | {"scale": "1"}),
        "divides by D": ATTEND.format(**RIGHT | {"scale": "1 / len(query)"}),
        "overflows": ATTEND.format(**RIGHT | {"score": "score"}),
        "shares do not add up to one": ATTEND.format(**RIGHT | {"total": "len(powers)"}),
        "divides by the number of keys": ATTEND.format(**RIGHT | {"scale": "1 / math.sqrt(len(keys))"}),
    },
    "02-3-b": {
        "aligned to the first key": VISIBLE.format(**SEEN | {"here": "t"}),
        "does not see itself": VISIBLE.format(**SEEN | {"upto": "< here"}),
        "window without the token itself": VISIBLE.format(**SEEN | {"first": "here - window"}),
        "sees everything": VISIBLE.format(**SEEN | {"upto": "< S"}),
    },
    "02-3-c": {
        "every other head shares": GROUPED.format(
            **SHARED | {"share": "k.repeat(1, share, 1, 1), v.repeat(1, share, 1, 1)"}
        ),
        "forgets √D": GROUPED.format(**SHARED | {"root": "1"}),
        "softmax over the queries": GROUPED.format(**SHARED | {"dim": "-2"}),
        "does not share": GROUPED.format(**SHARED | {"share": "k, v"}),
        "√ of the number of queries": GROUPED.format(**SHARED | {"root": "math.sqrt(q.shape[-2])"}),
    },
}
