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
GPUS = """def held(parameters, ranks, stage):
    cut = (0, 12, 14, 16)[stage]
    return parameters * (16 - cut + cut / ranks)


def needed(parameters, memory, stage):
    cut = (0, 12, 14, 16)[stage] * parameters
    whole = 16 * parameters - cut
    if whole + cut <= memory:
        return 1
    if whole >= memory:
        return None
    return -(-cut // (memory - whole))"""
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
        "cuts everything": GPUS.replace("parameters * (16 - cut + cut / ranks)", "parameters * 16 / ranks"),
        "four bytes a number": GPUS.replace("(0, 12, 14, 16)", "(0, 8, 12, 16)"),
        "gradients first": GPUS.replace("(0, 12, 14, 16)", "(0, 2, 14, 16)"),
        "without the copy of the weights": GPUS.replace("(0, 12, 14, 16)", "(0, 8, 10, 12)").replace(
            "16 ", "12 "
        ),
        "whole bytes": GPUS.replace("cut / ranks", "cut // ranks"),
        "rounds down": GPUS.replace("-(-cut // (memory - whole))", "cut // (memory - whole)"),
        "one more than needed": GPUS.replace("-(-cut // (memory - whole))", "cut // (memory - whole) + 1"),
        "a float quotient": GPUS.replace("-(-cut // (memory - whole))", "cut / (memory - whole)"),
        "0 ranks are enough": GPUS.replace("        return 1\n", "        return 0\n"),
        "None where one is enough": GPUS.replace("    if whole + cut <= memory:\n        return 1\n", ""),
        "divides by nothing": GPUS.replace("whole >= memory", "whole > memory"),
        "minus one for never": GPUS.replace("return None", "return -1"),
        "stages from 0": GPUS.replace("[stage]", "[stage - 1]"),
        "stage 3 always": GPUS.replace("[stage]", "[3]"),
        "up to 1,024 ranks": GPUS.replace(
            "    return -(-cut // (memory - whole))",
            "    return next((n for n in range(1, 1025) if held(parameters, n, stage) <= memory), None)",
        ),
        "the library's formula": """def held(parameters, ranks, stage):
    from minillm.training.parallel import zero_bytes

    return zero_bytes(parameters, ranks, stage)


def needed(parameters, memory, stage):
    return 1""",
        "whole bytes of memory": """def held(parameters, ranks, stage):
    cut = (0, 12, 14, 16)[stage]
    return parameters * (16 - cut + cut / ranks)
def needed(parameters, memory, stage):
    memory = int(memory)
    cut = (0, 12, 14, 16)[stage] * parameters
    whole = 16 * parameters - cut
    if whole + cut <= memory: return 1
    if whole >= memory: return None
    return -(-cut // (memory - whole))""",
    },
}
