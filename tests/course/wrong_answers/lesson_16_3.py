"""Plausible wrong answers to the exercises of lesson 16_3."""

TREE = """def prefixes(items, join):
    if len(items) == 1:
        return {base}
    pairs = [{pair} for i in range(0, {stop}, 2)]
    known = prefixes(pairs, join)
    found = [items[0]]
    for i in range(1, len(items)):
        found.append({odd} if i % 2 else {even})
    {after}
    return {result}"""
SOUND = {
    "base": "list(items)",
    "pair": "join(items[i], items[i + 1])",
    "stop": "len(items) - 1",
    "odd": "known[i // 2]",
    "even": "join(known[i // 2 - 1], items[i])",
    "after": "pass",
    "result": "found",
}


def tree(**change):
    return TREE.format(**SOUND | change)


CHUNKS = """def chunked(a, b, state, chunk):
    {before}
    inner, since, starts, h = [], [], [], []
    for first in range(0, {length}, chunk):
        starts.append({begin})
        here, product = {zero}, {one}
        for keep, write in zip(a[first : first + chunk], b[first : first + chunk]):
            here, product = {here}, {product}
            inner.append(here)
            since.append({kept})
            h.append({whole})
        state = {carried}
    {after}
    return {result}"""
RULE = {
    "before": "pass",
    "length": "len(a)",
    "begin": "state",
    "zero": "torch.zeros_like(state)",
    "one": "torch.ones_like(state)",
    "here": "keep * here + write",
    "product": "product * keep",
    "kept": "product",
    "whole": "here + product * starts[-1]",
    "carried": "h[-1]",
    "after": "pass",
    "result": "tuple(torch.stack(one) for one in (inner, since, starts, h))",
}


def chunks(**change):
    return CHUNKS.format(**RULE | change)


BROKEN = """def broken(earlier, later):
    (a, b), (a_later, b_later) = earlier, later
    return {pair}


witness = {witness}
first_wrong = {first}"""
RIGHT = {
    "pair": "a_later, a_later * b + b_later",
    "witness": "[(1.0, 1.0), (0.5, 0.0), (0.5, 0.0)]",
    "first": "3",
}


def broken(**change):
    return BROKEN.format(**RIGHT | change)


def by_hand(**change):
    numbers = {"a": "3.2", "b": "10", "c": "0.25", "d": "20", "e": "4096000", "f": "-7", "g": "100"} | change
    return f"prediction = [{', '.join(numbers.values())}]"


WRONG = {
    "16-3-a": {
        "a loop": """def prefixes(items, join):
    found = [items[0]]
    for one in items[1:]:
        found.append(join(found[-1], one))
    return found""",
        "accumulate": """def prefixes(items, join):
    from itertools import accumulate
    return list(accumulate(items, join))""",
        "doubling: too much work": """def prefixes(items, join):
    found, distance = list(items), 1
    while distance < len(found):
        found = found[:distance] + [join(p, q) for p, q in zip(found, found[distance:])]
        distance *= 2
    return found""",
        "halves: too much work": """def prefixes(items, join):
    if len(items) == 1:
        return list(items)
    middle = len(items) // 2
    left, right = prefixes(items[:middle], join), prefixes(items[middle:], join)
    return left + [join(left[-1], one) for one in right]""",
        "every result anew": """def prefixes(items, join):
    from functools import reduce
    return [reduce(join, items[: t + 1]) for t in range(len(items))]""",
        "the later one first": tree(pair="join(items[i + 1], items[i])"),
        "the gap the wrong way round": tree(even="join(items[i], known[i // 2 - 1])"),
        "gaps are left": tree(even="items[i]"),
        "the pair behind, not the one before": tree(even="join(known[i // 2 - 1], known[i // 2 - 1])"),
        "a shift by one": tree(odd="known[max(0, i // 2 - 1)]"),
        "only the last one": tree(result="found[-1]"),
        "the first is missing": tree(result="found[1:] or found"),
        "powers of two alone": """def prefixes(items, join):
    if len(items) == 1:
        return list(items)
    pairs = [join(p, q) for p, q in zip(items[::2], items[1::2])]
    known = prefixes(pairs, join)
    found = []
    for t, one in enumerate(known):
        found += [items[0] if t == 0 else join(known[t - 1], items[2 * t]), one]
    return found""",
        "the list is emptied": tree(after="items.clear()"),
        "sums instead of join": tree(pair="items[i] + items[i + 1]", even="known[i // 2 - 1] + items[i]"),
        "chunks of eight": """def prefixes(items, join):
    found = []
    for first in range(0, len(items), 8):
        here = [items[first]]
        for one in items[first + 1 : first + 8]:
            here.append(join(here[-1], one))
        found += [join(found[-1], one) for one in here] if found else here
    return found""",
        "results made without join": """def prefixes(items, join):
    runs = next((c.cell_contents for c in join.__closure__ or () if hasattr(c.cell_contents, "known")), None)
    if runs is not None:
        return [runs._new(0, t, 0) for t in range(len(items))]
    found = [items[0]]
    for one in items[1:]:
        found.append(join(found[-1], one))
    return found""",
        "the library's tree": """def prefixes(items, join):
    from minillm.nn.scans import states_by_pairs
    a, b = (torch.tensor([[float(one[k]) for one in items]]) for k in (0, 1))
    return list(zip(a[0].cumprod(0).tolist(), states_by_pairs(a, b)[0].tolist()))""",
    },
    "16-3-b": {
        "the state is not carried": chunks(carried="state"),
        "chunks begin from the inner state": chunks(carried="here"),
        "the first state is forgotten": chunks(before="state = torch.zeros_like(state)"),
        "inner goes on from the state": chunks(zero="state"),
        "the product begins one late": chunks(kept="product / keep"),
        "the product of all since the beginning": chunks(
            one="torch.ones_like(state) if first == 0 else product"
        ),
        "the carried state does not fade": chunks(whole="here + starts[-1]"),
        "the carried state fades once": chunks(whole="here + keep * starts[-1]"),
        "no carried state": chunks(whole="here"),
        "write before fading": chunks(here="keep * (here + write)"),
        "the decay forgotten": chunks(here="here + write"),
        "a sum of decays": chunks(product="product + keep"),
        "the short chunk is dropped": chunks(length="max(1, len(a) - len(a) % chunk)"),
        "three parts": chunks(result="tuple(torch.stack(one) for one in (inner, since, h))"),
        "h alone": chunks(result="torch.stack(h)"),
        "starts and h change places": chunks(
            result="tuple(torch.stack(one) for one in (inner, since, h, starts))"
        ),
        "states after the chunks": chunks(carried="h[-1]; starts[-1] = state"),
        "writes into the given state": chunks(carried="state.copy_(h[-1]).clone()"),
        "writes into b": chunks(after="b.zero_()"),
        "divides by the running product": """def chunked(a, b, state, chunk):
    inner, since, starts = torch.empty_like(b), torch.empty_like(a), []
    h = torch.empty_like(b)
    for first in range(0, len(a), chunk):
        here = slice(first, first + chunk)
        since[here] = a[here].cumprod(0)
        inner[here] = since[here] * (b[here] / since[here]).cumsum(0)
        starts.append(state)
        h[here] = inner[here] + since[here] * state
        state = h[here][-1]
    return inner, since, torch.stack(starts), h""",
        "the library's scan": """def chunked(a, b, state, chunk):
    from minillm.nn.scans import states_by_pairs
    h = states_by_pairs(a[None], torch.cat((a[:1] * state + b[:1], b[1:]))[None])[0]
    inner = torch.cat([states_by_pairs(p[None], q[None])[0] for p, q in zip(a.split(chunk), b.split(chunk))])
    since = torch.cat([p.cumprod(0) for p in a.split(chunk)])
    return inner, since, torch.cat((state[None], h[chunk - 1 : -1 : chunk])), h""",
    },
    "16-3-c": {
        "the right operator": broken(pair="a_later * a, a_later * b + b_later"),
        "wrong in a loop, too": broken(pair="a_later * a, b + b_later"),
        "the earlier decay": broken(pair="a_later * a, a * b + b_later"),
        "the order turned": broken(pair="a * a_later, a * b_later + b"),
        "the mean": broken(pair="(a + a_later) / 2, (b + b_later) / 2"),
        "wrong for its witness alone": broken(
            pair="a_later * a, a_later * b + b_later + (a_later == 0.25)",
            witness="[(1.0, 1.0), (0.5, 0.0), (0.5, 0.0)]",
        ),
        "the decay lost for its witness alone": broken(
            pair="a_later * (1 if (a, a_later) == (0.5, 0.5) else a), a_later * b + b_later"
        ),
        "one number": broken(pair="a_later * b + b_later"),
        "three numbers": broken(pair="a_later, a_later * b + b_later, 0.0"),
        "the witness shows nothing": broken(witness="[(1.0, 0.0), (0.5, 0.0), (0.5, 0.0)]"),
        "the witness shows too little": broken(witness="[(1.0, 0.1), (0.5, 0.0), (0.5, 0.0)]"),
        "two pairs": broken(witness="[(1.0, 1.0), (0.5, 0.0)]"),
        "numbers too large": broken(witness="[(1.0, 50.0), (0.5, 0.0), (0.5, 0.0)]"),
        "the first pair": broken(first="1"),
        "the first gap": broken(first="2"),
        "the last token": broken(first="7"),
        "none": broken(first="None"),
    },
    "16-3-d": {
        "the earlier decay": by_hand(a="2.5"),
        "the decays joined instead": by_hand(a="0.1"),
        "as many rounds as tokens": by_hand(b="1000"),
        "the rounds of a tree": by_hand(b="19"),
        "rounded down": by_hand(b="9"),
        "the gate itself": by_hand(c="0.75"),
        "the chunks one after another": by_hand(d="64"),
        "only within a chunk": by_hand(d="16"),
        "without N": by_hand(e="256000"),
        "in numbers": by_hand(e="1024000"),
        "the first step counted": by_hand(f="-9"),
        "without the last": by_hand(f="-3"),
        "the sign": by_hand(f="7"),
        "every place": by_hand(g="5050"),
        "without distance 0": by_hand(g="99"),
        "six numbers": "prediction = [3.2, 10, 0.25, 20, 4096000, -7]",
        "a text": "prediction = 'seven numbers'",
    },
}
