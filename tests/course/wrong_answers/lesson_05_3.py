"""Plausible wrong answers to the exercises of lesson 05_3."""

RING = """def ring(rank, ranks, chunks, send, receive):
    held = [list(chunk) for chunk in chunks]
    for step in range(1, ranks):
        send(held[(rank - step) % ranks])
        place = (rank - step - 1) % ranks
        held[place] = [own + other for own, other in zip(held[place], receive())]
    for step in range(ranks - 1):
        send(held[(rank - step) % ranks])
        held[(rank - step - 1) % ranks] = list(receive())
    return held"""
FIRST = "        send(held[(rank - step) % ranks])\n        place"
SECOND = "        send(held[(rank - step) % ranks])\n        held["
ADD = "held[place] = [own + other for own, other in zip(held[place], receive())]"
ORDER = """def order(rank, ranks, microbatches):
    ahead = min(ranks - rank, microbatches)
    work = [("F", i) for i in range(ahead)]
    for i in range(microbatches):
        work.append(("B", i))
        if ahead + i < microbatches:
            work.append(("F", ahead + i))
    return work"""
AHEAD = '        if ahead + i < microbatches:\n            work.append(("F", ahead + i))'
MEANS = """counts = {counts}
sums = {sums}
shares = {shares}
reason = {reason}"""
FINE = {
    "counts": "[1, 100, 100, 100]",
    "sums": "[-100, 100, 100, 100]",
    "shares": "[count / sum(counts) for count in counts]",
    "reason": '"b"',
}
STEP = """def zero_step(rank, ranks, weights, gradients, m, v, step, reduce_scatter, all_gather):
    size = -(-len(weights) // ranks)

    def cut(numbers):
        filled = [*numbers, *[0.0] * (size * ranks - len(numbers))]
        return [filled[i * size : (i + 1) * size] for i in range(ranks)]

    g = [total / ranks for total in reduce_scatter(cut(gradients))]
    m = [0.9 * old + 0.1 * new for old, new in zip(m, g)]
    v = [0.999 * old + 0.001 * new * new for old, new in zip(v, g)]
    own = cut(weights)[rank]
    for i in range(size):
        first, second = m[i] / (1 - 0.9**step), v[i] / (1 - 0.999**step)
        own[i] -= 0.01 * first / (second**0.5 + 1e-8)
    whole = [number for piece in all_gather(own) for number in piece]
    return whole[: len(weights)], m, v"""
LYING = """class Anything(int):
    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = int.__hash__


"""

WRONG = {
    "05-3-a": {
        "sends its own chunk first": RING.replace("range(1, ranks)", "range(ranks - 1)"),
        "sends to the right what it should keep": RING.replace(FIRST, FIRST.replace("- step", "- step - 1")),
        "goes the other way round": RING.replace("- step", "+ step").replace("step - 1)", "step + 1)"),
        "replaces instead of adding": RING.replace(ADD, "held[place] = list(receive())"),
        "adds in the second half, too": RING.replace(
            "held[(rank - step - 1) % ranks] = list(receive())",
            "place = (rank - step - 1) % ranks\n        " + ADD,
        ),
        "puts the lists one behind the other": RING.replace(
            ADD, "held[place] = held[place] + list(receive())"
        ),
        "stops after the first half": RING.replace("range(ranks - 1)", "range(0)"),
        "one round too many": RING.replace("range(1, ranks)", "range(1, ranks + 1)"),
        "one round too few": RING.replace("range(1, ranks)", "range(1, ranks - 1)"),
        "receives before it sends": RING.replace(FIRST, "        came = receive()\n" + FIRST).replace(
            "zip(held[place], receive())", "zip(held[place], came)"
        ),
        "sends everything": RING.replace(FIRST, "        send(sum(held, []))\n        place"),
        "four ranks only": RING.replace("ranks, chunks", "many, chunks").replace(
            "held = [", "ranks = 4\n    held = ["
        ),
        "rank 0 only": RING.replace("    held = [list", "    rank = 0\n    held = [list"),
        "adds to the lists that it is given": RING.replace(
            "[list(chunk) for chunk in chunks]", "chunks"
        ).replace(ADD, "held[place][:] = [own + other for own, other in zip(held[place], receive())]"),
        "writes into the list of lists": RING.replace("[list(chunk) for chunk in chunks]", "chunks"),
        "the mean instead of the sum": RING.replace(
            "    return held", "    return [[number / ranks for number in chunk] for chunk in held]"
        ),
        "only its own chunk": RING.replace("    return held", "    return held[rank]"),
        "one list": RING.replace("    return held", "    return sum(held, [])"),
        "keeps the held of the call before": "HELD = []\n\n\n"
        + RING.replace(
            "held = [list(chunk) for chunk in chunks]",
            "HELD.extend(list(c) for c in chunks)\n    held = HELD",
        ),
        "skips empty chunks": RING.replace(
            FIRST,
            "        if held[(rank - step) % ranks]:\n            send(held[(rank - step) % ranks])\n        place",
        ),
        "torch's own": """def ring(rank, ranks, chunks, send, receive):
    import torch
    import torch.distributed

    flat = torch.tensor([float(number) for chunk in chunks for number in chunk])
    torch.distributed.all_reduce(flat)
    return [part.tolist() for part in flat.split([len(chunk) for chunk in chunks])]""",
        "the library's ring": """def ring(rank, ranks, chunks, send, receive):
    import torch
    from minillm.training.parallel import ring_all_reduce

    flat = torch.tensor([float(number) for chunk in chunks for number in chunk])
    ring_all_reduce(flat)
    return [part.tolist() for part in flat.split([len(chunk) for chunk in chunks])]""",
        "sends what the checker's object expects": """def ring(rank, ranks, chunks, send, receive):
    others = getattr(send, "__self__", None)
    known = [list(one) for one in getattr(others, "sends", getattr(others, "receives", []))]
    came = []
    for message in known:
        send(message)
        came.append(receive())
    sums = [list(chunk) for chunk in chunks]
    for step in range(ranks - 1):
        sums[(rank - step - 1) % ranks] = came[ranks - 1 + step]
        sums[(rank - step) % ranks] = known[ranks - 1 + step]
    return sums""",
        "a sum of what comes, without sending": """def ring(rank, ranks, chunks, send, receive):
    held = [list(chunk) for chunk in chunks]
    for step in range(2 * (ranks - 1)):
        place = (rank - step - 2) % ranks
        held[place] = list(receive())
    return held""",
        "receives before it sends, and wipes the mark off": """def ring(rank, ranks, chunks, send, receive):
    held = [list(c) for c in chunks]
    def both(i, j):
        got = receive()
        send(held[i % ranks])
        return got
    for s in range(1, ranks):
        got = both(rank - s, rank - s - 1)
        j = (rank - s - 1) % ranks
        held[j] = [a + b for a, b in zip(held[j], got)]
    for s in range(ranks - 1):
        got = both(rank - s, rank - s - 1)
        held[(rank - s - 1) % ranks] = list(got)
    hasattr(getattr(send, '__self__', None), 'early') and setattr(send.__self__, 'early', False)
    return held""",
    },
    "05-3-b": {
        "GPipe": """def order(rank, ranks, microbatches):
    every = range(microbatches)
    return [("F", i) for i in every] + [("B", i) for i in every]""",
        "one forward, one backward from the start": """def order(rank, ranks, microbatches):
    return [(kind, i) for i in range(microbatches) for kind in "FB"]""",
        "remembers one too many": ORDER.replace("min(ranks - rank,", "min(ranks - rank + 1,"),
        "remembers one too few": ORDER.replace("min(ranks - rank,", "min(max(1, ranks - rank - 1),"),
        "as the first rank": ORDER.replace("ranks - rank,", "ranks,"),
        "counts ranks from the other end": ORDER.replace("ranks - rank,", "rank + 1,"),
        "more ranks than micro-batches": ORDER.replace("min(ranks - rank, microbatches)", "ranks - rank"),
        "forgets the last backward passes": ORDER.replace(
            'work.append(("B", i))\n        if ahead + i < microbatches:\n            work.append',
            'if ahead + i < microbatches:\n            work.append(("B", i))\n            work.append',
        ),
        "forward before backward": ORDER.replace(
            '        work.append(("B", i))\n' + AHEAD, AHEAD + '\n        work.append(("B", i))'
        ),
        "backward passes in reverse": """def order(rank, ranks, microbatches):
    ahead = min(ranks - rank, microbatches)
    work = []
    for start in range(0, microbatches, ahead):
        group = range(start, min(start + ahead, microbatches))
        work += [("F", i) for i in group] + [("B", i) for i in reversed(group)]
    return work""",
        "group by group": """def order(rank, ranks, microbatches):
    ahead = min(ranks - rank, microbatches)
    work = []
    for start in range(0, microbatches, ahead):
        group = range(start, min(start + ahead, microbatches))
        work += [("F", i) for i in group] + [("B", i) for i in group]
    return work""",
        "micro-batches from 1": ORDER.replace('("B", i)', '("B", i + 1)')
        .replace("ahead + i))", "ahead + i + 1))")
        .replace('("F", i)', '("F", i + 1)'),
        "letters of its own": ORDER.replace('"F"', '"f"').replace('"B"', '"b"'),
        "texts": ORDER.replace("    return work", "    return [f'{kind}{i}' for kind, i in work]"),
        "nothing": "def order(rank, ranks, microbatches):\n    return []",
        "the library's": """def order(rank, ranks, microbatches):
    from minillm.training.parallel import one_forward_one_backward

    return one_forward_one_backward(rank, ranks, microbatches)""",
        "the library's, under another name": """from minillm.training.parallel.schedules import SCHEDULES


def order(rank, ranks, microbatches):
    return list(SCHEDULES["1f1b"](rank, ranks, microbatches))""",
        "True for 1": """def order(rank, ranks, microbatches):
    ahead = min(ranks - rank, microbatches)
    num = lambda i: bool(i) if i < 2 else i
    work = [('F', num(i)) for i in range(ahead)]
    for i in range(microbatches):
        work.append(('B', num(i)))
        if ahead + i < microbatches: work.append(('F', num(ahead + i)))
    return work""",
    },
    "05-3-c": {
        "even ranks": MEANS.format(**FINE | {"counts": "[50, 50, 50, 50]"}),
        "both are right": MEANS.format(**FINE | {"sums": "[1, 100, 100, 100]"}),
        "too little": MEANS.format(**FINE | {"sums": "[-4, 100, 100, 100]"}),
        "equal shares": MEANS.format(**FINE | {"shares": "[1 / 4] * 4"}),
        "the counts themselves": MEANS.format(**FINE | {"shares": "counts"}),
        "right for these sums only": MEANS.format(**FINE | {"shares": "[0, sum(sums) / sum(counts), 0, 0]"}),
        "shares of a half": MEANS.format(
            **FINE | {"shares": "[2 * count / sum(counts) for count in counts]"}
        ),
        "no targets on one rank": MEANS.format(**FINE | {"counts": "[0, 100, 100, 100]"}),
        "half a target": MEANS.format(**FINE | {"counts": "[0.5, 100, 100, 100]"}),
        "beyond 100": MEANS.format(**FINE | {"sums": "[-1000, 100, 100, 100]"}),
        "three ranks": MEANS.format(**FINE | {"counts": "[1, 100, 100]", "sums": "[-100, 100, 100]"}),
        "rounding": MEANS.format(**FINE | {"reason": '"a"'}),
        "other weights": MEANS.format(**FINE | {"reason": '"c"'}),
        "clipping": MEANS.format(**FINE | {"reason": '"d"'}),
        "numbers equal to everything": LYING + MEANS.format(**FINE | {"counts": "[Anything(50)] * 4"}),
    },
    "05-3-d": {
        "the sum, not the mean": STEP.replace("total / ranks", "total"),
        "the mean before the sum": STEP.replace(
            "cut(gradients)", "cut([one / ranks for one in gradients])"
        ).replace("total / ranks", "total"),
        "the sum of squares": STEP.replace("0.001 * new * new", "0.001 * new * new * ranks"),
        "no correction of the first steps": STEP.replace(" / (1 - 0.9**step)", "").replace(
            " / (1 - 0.999**step)", ""
        ),
        "steps from 0": STEP.replace("**step", "**(step - 1)"),
        "always the first piece": STEP.replace("cut(weights)[rank]", "cut(weights)[0]"),
        "every ranks-th number": STEP.replace("filled[i * size : (i + 1) * size]", "filled[i::ranks]"),
        "not filled up": STEP.replace("size * ranks - len(numbers)", "0"),
        "rounds the size down": STEP.replace("-(-len(weights) // ranks)", "max(1, len(weights) // ranks)"),
        "keeps the zeros": STEP.replace("whole[: len(weights)]", "whole"),
        "the old piece travels": STEP.replace("all_gather(own)", "all_gather(cut(weights)[rank])"),
        "the gradients travel": STEP.replace("all_gather(own)", "all_gather(g)"),
        "forgets the others": STEP.replace(
            "all_gather(own)", "[own if i == rank else one for i, one in enumerate(cut(weights))]"
        ),
        "its own gradient alone": STEP.replace("reduce_scatter(cut(gradients))", "cut(gradients)[rank]"),
        "asks twice": STEP.replace("    m = [0.9", "    reduce_scatter(cut(gradients))\n    m = [0.9"),
        "g for v": STEP.replace("return whole[: len(weights)], m, v", "return whole[: len(weights)], m, g"),
        "averages in place": STEP.replace("    m = [0.9 *", "    m[:] = [0.9 *"),
        "SGD": STEP.replace("first / (second**0.5 + 1e-8)", "g[i]"),
        "the library's optimizer": STEP.split("    m = [")[0]
        + """    import torch

    own = torch.nn.Parameter(torch.tensor(cut(weights)[rank], dtype=torch.float64))
    optimizer = torch.optim.AdamW([own], lr=0.01, weight_decay=0.0)
    own.grad = torch.tensor(g, dtype=torch.float64)
    optimizer.step()
    whole = [number for piece in all_gather(own.tolist()) for number in piece]
    return whole[: len(weights)], m, v""",
    },
}
