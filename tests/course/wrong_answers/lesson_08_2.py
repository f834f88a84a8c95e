"""Plausible wrong answers to the exercises of lesson 08_2."""

STREAM = """def attend_stream(pairs):
    m, l, o = -math.inf, 0.0, []
    for score, value in {pairs}:
        o = o or [0.0] * len(value)
        if {hidden}:
            continue
        top = {top}
        shrink, share = math.exp({shrink}), math.exp({share})
        m, l, o = top, {l}, [{o} for a, b in zip(o, value)]
    return ({output}, {lse}) if l else {nothing}"""
STREAMED = {
    "pairs": "pairs",
    "hidden": "score == -math.inf",
    "top": "max(m, score)",
    "shrink": "m - top",
    "share": "score - top",
    "l": "l * shrink + share",
    "o": "a * shrink + share * b",
    "output": "[x / l for x in o]",
    "lse": "m + math.log(l)",
    "nothing": "(o, -math.inf)",
}

VISIT = """def visit(T, S, block_q, block_k, left=None):
    plan = []
    for first in range(0, T, block_q):
        last = {last}
        shift = {shift}
        low = 0 if left is None else max(0, {low})
        row = []
        for j in range({start}, {stop}):
            masked = {masked}
            if left is not None:
                masked |= {window}
            row.append((j, masked))
        plan.append(row)
    return plan"""
VISITED = {
    "last": "min(first + block_q, T) - 1",
    "shift": "S - T",
    "low": "first + shift - left",
    "start": "low // block_k",
    "stop": "(last + shift) // block_k + 1",
    "masked": "(j + 1) * block_k - 1 > first + shift",
    "window": "j * block_k < last + shift - left",
}

MERGE = """def merge(parts):
    outs = torch.stack([out for out, _ in parts])  # (N, T, D)
    lses = torch.stack([lse for _, lse in parts])  # (N, T)
    top = lses.amax(0)
    base = {base}
    shares = torch.exp({shares})
    total = shares.sum(0)
    out = {out}
    return out, {lse}"""
MERGED = {
    "base": "torch.where(top == -math.inf, 0.0, top)",
    "shares": "lses - base",
    "out": "(shares[..., None] * outs).sum(0) / torch.where(total == 0, 1.0, total)[:, None]",
    "lse": "base + torch.log(total)",
}

WRONG = {
    "08-2-a": {
        "forgets to shrink the old output": STREAM.format(**STREAMED | {"o": "a + share * b"}),
        "forgets to shrink the old sum": STREAM.format(**STREAMED | {"l": "l + share"}),
        "shrinks the new share instead": STREAM.format(**STREAMED | {"share": "0.0", "o": "a + shrink * b"}),
        "the last score instead of the maximum": STREAM.format(**STREAMED | {"top": "score"}),
        "no maximum at all": STREAM.format(
            **STREAMED | {"shrink": "0.0", "share": "score", "lse": "math.log(l)"}
        ),
        "NaN where the first keys are hidden": STREAM.format(**STREAMED | {"hidden": "False"}),
        "forgets to divide": STREAM.format(**STREAMED | {"output": "o"}),
        "the log-sum-exp without the maximum": STREAM.format(**STREAMED | {"lse": "math.log(l)"}),
        "stops where all keys are hidden": STREAM.format(**STREAMED | {"nothing": "([], 0.0)"}),
        "keeps the stream": STREAM.format(**STREAMED | {"pairs": "list(pairs)"}),
        "keeps copies": """def attend_stream(pairs):
    kept = [(score, [x + 0.0 for x in value]) for score, value in pairs]
    m = max(score for score, _ in kept)
    if m == -math.inf:
        return [0.0] * len(kept[0][1]), m
    shares = [math.exp(score - m) for score, _ in kept]
    l = sum(shares)
    columns = zip(*(value for _, value in kept))
    return [sum(a * b for a, b in zip(shares, column)) / l for column in columns], m + math.log(l)""",
        "keeps arrays of bytes": """def attend_stream(pairs):
    import array

    kept = array.array("d")
    scores = array.array("d")
    for score, value in pairs:
        scores.append(score)
        kept.extend(value)
    n, m = len(scores), max(scores)
    D = len(kept) // n
    if m == -math.inf:
        return [0.0] * D, m
    shares = [math.exp(score - m) for score in scores]
    l = sum(shares)
    return [sum(shares[i] * kept[i * D + d] for i in range(n)) / l for d in range(D)], m + math.log(l)""",
        "two passes by tee": """def attend_stream(pairs):
    import itertools

    first, second = itertools.tee(pairs)
    m = max(score for score, _ in first)
    l, o = 0.0, None
    for score, value in second:
        share = 0.0 if m == -math.inf else math.exp(score - m)
        l, o = l + share, [a + share * b for a, b in zip(o or [0.0] * len(value), value)]
    return [x / (l or 1.0) for x in o], m + math.log(l) if l else m""",
        "torch in blocks": """def attend_stream(pairs):
    lse, mean = torch.tensor(-math.inf, dtype=torch.float64), 0.0
    for score, value in pairs:
        total = torch.logaddexp(lse, torch.tensor(score, dtype=torch.float64))
        base = torch.where(total == -math.inf, 0.0, total)
        mean = mean * torch.exp(lse - base) + math.exp(score - base) * torch.tensor(value, dtype=torch.float64)
        lse = total
    return mean, lse""",
        "stops early": """def attend_stream(pairs):
    import itertools
    kept = list(itertools.islice(pairs, 400))
    m = max(score for score, _ in kept)
    if m == -math.inf:
        return [0.0] * len(kept[0][1]), m
    shares = [math.exp(score - m) for score, _ in kept]
    l = sum(shares)
    columns = zip(*(value for _, value in kept))
    return [sum(a * b for a, b in zip(shares, column)) / l for column in columns], m + math.log(l)""",
        "keeps it in torch's memory": """def attend_stream(pairs):
    n, buf = 0, None
    for score, value in pairs:
        if buf is None:
            buf = torch.empty(8000, len(value) + 1, dtype=torch.float64)
        buf[n, 0] = score
        for d, x in enumerate(value):
            buf[n, d + 1] = x
        n += 1
    s = buf[:n, 0]
    m = s.max().item()
    if m == -math.inf:
        return [0.0] * (buf.shape[1] - 1), m
    p = (s - m).exp()
    l = p.sum()
    return ((p @ buf[:n, 1:]) / l).tolist(), m + math.log(l.item())""",
        "keeps it in a file": """def attend_stream(pairs):
    import tempfile, struct
    with tempfile.TemporaryFile() as f:
        D, m = 0, -math.inf
        for score, value in pairs:
            D = len(value)
            m = max(m, score)
            f.write(struct.pack(f"{D+1}d", score, *value))
        f.seek(0)
        l, o = 0.0, [0.0] * D
        while row := f.read(8 * (D + 1)):
            s, *v = struct.unpack(f"{D+1}d", row)
            p = math.exp(s - m) if m > -math.inf else 0.0
            l += p
            o = [a + p * b for a, b in zip(o, v)]
    return ([x / l for x in o], m + math.log(l)) if l else (o, m)""",
    },
    "08-2-b": {
        "the first query stands at the first key": VISIT.format(**VISITED | {"shift": "0"}),
        "skips nothing": VISIT.format(**VISITED | {"stop": "-(-S // block_k)"}),
        "masks every tile": VISIT.format(**VISITED | {"masked": "True"}),
        "masks the tile of the same number only": VISIT.format(
            **VISITED | {"masked": "j == first // block_q"}
        ),
        "skips nothing left of the window": VISIT.format(**VISITED | {"start": "0"}),
        "counts itself in the window": VISIT.format(
            **VISITED | {"low": "first + shift - left + 1", "window": "j * block_k < last + shift - left + 1"}
        ),
        "the window of the last query for the whole block": VISIT.format(
            **VISITED | {"low": "last + shift - left"}
        ),
        "rows beyond the last query": VISIT.format(**VISITED | {"last": "first + block_q - 1"}),
        "no mask where a block hangs over": VISIT.format(
            **VISITED | {"masked": "min((j + 1) * block_k, S) - 1 > first + shift"}
        ),
        "masks the block that the window just reaches": VISIT.format(
            **VISITED | {"window": "j * block_k <= last + shift - left"}
        ),
        "no mask at the window's edge": VISIT.format(**VISITED | {"window": "False"}),
        "masks what the last query sees": VISIT.format(
            **VISITED | {"masked": "(j + 1) * block_k - 1 > last + shift"}
        ),
        "asks the checker": """import sys
def visit(*a):
    return sys.modules['minillm.course.classroom.exercises.lesson_08_2'].plan_of(*a)""",
    },
    "08-2-c": {
        "the other way round": "orders = [-5, -3, -1, 1, 3, 5], [5, 3, 1, -1, -3, -5]",
        "scores too close": "orders = [0.5, 0.4, 0.3, 0.2, 0.1, 0.0], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]",
        "equal scores": "orders = [0.0] * 6, [0.0] * 6",
        "other scores": "orders = [5, 3, 1, -1, -3, -5], [-5, -4, -1, 1, 3, 5]",
        "too few": "orders = [5, -5], [-5, 5]",
        "too large": "orders = [9, 6, 3, 0, -3, -6], [-6, -3, 0, 3, 6, 9]",
        "the largest in the second block": "orders = [3, 1, 5, -1, -3, -5], [-5, -3, -1, 1, 3, 5]",
        "only one": "orders = [5, 3, 1, -1, -3, -5]",
    },
    "08-2-d": {
        "the plain mean": MERGE.format(**MERGED | {"out": "outs.mean(0)"}),
        "weighs by the log-sum-exp itself": MERGE.format(
            **MERGED | {"out": "(torch.softmax(lses, 1)[..., None] * outs).sum(0)"}
        ),
        "overflows": MERGE.format(**MERGED | {"base": "torch.zeros_like(top)"}),
        "one maximum for all queries": MERGE.format(
            **MERGED | {"base": "top.max().nan_to_num(neginf=0.0).expand_as(top)"}
        ),
        "NaN where nothing is visible": MERGE.format(**MERGED | {"base": "top"}),
        "adds the log-sum-exps": MERGE.format(**MERGED | {"lse": "lses.sum(0)"}),
        "the largest log-sum-exp": MERGE.format(**MERGED | {"lse": "top"}),
        "forgets to divide": MERGE.format(**MERGED | {"out": "(shares[..., None] * outs).sum(0)"}),
    },
}
