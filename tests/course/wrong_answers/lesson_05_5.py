"""Plausible wrong answers to the exercises of lesson 05_5."""

N = 4096 * 4096
RIGHT = [N / 2 + N / 16, N / 2 + N / 64 + N / 4096 + 4, 16.25, 65536, 0, 12, 7]


def numbers(**changed):
    """The seven numbers, some of them wrong: n2=... is number 2."""
    return f"prediction = {[changed.get(f'n{place}', right) for place, right in enumerate(RIGHT, 1)]}"


STEP = """def coded_step(w, g, m, v, books, block, step, lr):
    def spread(scales):
        return scales.repeat_interleave({repeat})[: len(w)]

    def close(x, book):
        scales = torch.stack([{scale} for part in x.split({split})])
        ratio = x / spread(torch.where(scales > 0, scales, torch.ones_like(scales)))
        return {codes}, {scales}

    {open}
    m, v = {m}, {v}
    {w}
    return {give}"""
FINE = {
    "repeat": "block", "split": "block", "scale": "part.abs().max()", "scales": "scales",
    "codes": "(ratio[:, None] - book).abs().argmin(dim=1)",
    "open": "m, v = (book[codes] * spread(scales) for book, (codes, scales) in zip(books, (m, v)))",
    "m": "0.9 * m + 0.1 * g", "v": "0.999 * v + 0.001 * g * g",
    "w": "w = w - lr * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)",
    "give": "w, close(m, books[0]), close(v, books[1])",
}  # fmt: skip


def step(**changed):
    """The right function, with other lines."""
    return STEP.format(**FINE | changed)


FAULTS = """def faults(order, sizes, budget):
    there, count = [], 0
    for page in order:
        if page in there:
            {seen}
        else:
            count += {one}
            while {full}:
                {leave}
        {come}
    return {give}"""
COUNTED = {
    "seen": "there.remove(page)", "one": "1",
    "full": "sum(sizes[p] for p in there) + sizes[page] > budget", "leave": "there.pop(0)",
    "come": "there.append(page)", "give": "count",
}  # fmt: skip


def counted(**changed):
    """The right function, with other lines."""
    return FAULTS.format(**COUNTED | changed)


CHOSEN = {
    "weights": "[float(one) for one in NF4_CODEBOOK[8:]]",
    "change": "[0.02] * 7 + [0.0]",
    "averages": "[1.0] + [1e-5] * 7",
    "floats": '"b"',
    "pages": '"c"',
    "learns": '"a"',
}


def chosen(**changed):
    """The right choice, with other parts."""
    return "\n".join(f"{name} = {value}" for name, value in (CHOSEN | changed).items())


WRONG = {
    "05-5-a": {
        "a byte a weight": numbers(n1=N + N / 16),
        "scales of 16 bits": numbers(n1=N / 2 + N / 32),
        "no scales": numbers(n1=N / 2),
        "bits, not bytes": numbers(n1=8 * RIGHT[0]),
        "no second scales": numbers(n2=N / 2 + N / 64),
        "no mean": numbers(n2=RIGHT[1] - 4),
        "float scales stay, too": numbers(n2=RIGHT[1] + N / 16),
        "one average": numbers(n3=8.125),
        "no scales of the averages": numbers(n3=16),
        "blocks of 64": numbers(n3=17),
        "all weights learn": numbers(n4=N),
        "A alone": numbers(n4=32768),
        "the opened weight is kept": numbers(n5=4 * N),
        "the codes are kept": numbers(n5=N / 2),
        "what fits is not read": numbers(n6=7),
        "all fit": numbers(n6=0),
        "there and back reads all": numbers(n7=12),
        "one more": numbers(n7=8),
        "six numbers": f"prediction = {RIGHT[:6]}",
    },
    "05-5-b": {
        "blocks of 64 always": step(repeat="64", split="64"),
        "one scale for all": step(split="len(x)", repeat="len(w)"),
        "the mean as scale": step(scale="part.abs().mean()"),
        "the largest, not its absolute value": step(scale="part.max()"),
        "rounds down": step(codes="((ratio[:, None] - book) >= 0).sum(dim=1).clamp(min=1) - 1"),
        "rounds up": step(codes="torch.bucketize(ratio, book).clamp(max=len(book) - 1)"),
        "books exchanged": step(give="w, close(m, books[1]), close(v, books[0])"),
        "one book": step(give="w, close(m, books[0]), close(v, books[0])"),
        "opened with one book": step(open="m, v = (books[0][codes] * spread(s) for codes, s in (m, v))"),
        "opened without scales": step(open="m, v = books[0][m[0]], books[1][v[0]]"),
        "m without its share": step(m="0.9 * m + g"),
        "v not squared": step(v="0.999 * v + 0.001 * g.abs()"),
        "b2 is 0.99": step(v="0.99 * v + 0.01 * g * g"),
        "no correction": step(w="w = w - lr * m / (v.sqrt() + 1e-8)"),
        "corrections for step + 1": step(
            w="w = w - lr * (m / (1 - 0.9 ** (step + 1))) / ((v / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)"
        ),
        "no root": step(w="w = w - lr * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)) + 1e-8)"),
        "the wrong way": step(
            w="w = w + lr * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)"
        ),
        "eps under the root": step(
            w="w = w - lr * (m / (1 - 0.9**step)) / (v / (1 - 0.999**step) + 1e-8).sqrt()"
        ),
        "with decay": step(
            w="w = 0.99 * w - lr * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)"
        ),
        "lr is 0.01": step(
            w="w = w - 0.01 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)"
        ),
        "closed before the step": step(
            w="m, v = (b[c] * spread(s) for b, (c, s) in zip(books, (close(m, books[0]), close(v, books[1]))))\n"
            "    w = w - lr * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)"
        ),
        "the old averages again": "def coded_step(w, g, m, v, books, block, step, lr):\n    return w, m, v",
        "w in place": step(w="w -= lr * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)"),
        "books emptied": step(open="[book.zero_() for book in books]\n    m = v = torch.zeros(len(w))"),
        "codes in place": step(
            give="w, tuple(old.copy_(new) for old, new in zip(given, close(m, books[0]))), close(v, books[1])",
            open="given = m\n    " + FINE["open"],
        ),
        "v and m exchanged": step(give="w, close(v, books[1]), close(m, books[0])"),
        "scales and codes exchanged": step(give="w, close(m, books[0])[::-1], close(v, books[1])[::-1]"),
        "floats in place of codes": step(codes="ratio"),
        "the library's": (
            "def coded_step(w, g, m, v, books, block, step, lr):\n"
            "    from minillm.quantization import blockwise_quantize\n\n"
            "    m, v = (b[c] * s.repeat_interleave(block)[: len(w)] for b, (c, s) in zip(books, (m, v)))\n"
            "    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g\n"
            "    w = w - lr * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)\n"
            "    pairs = [blockwise_quantize(x, block, b) for x, b in zip((m, v), books)]\n"
            "    return w, *((one.codes.long(), one.scales) for one in pairs)"
        ),
    },
    "05-5-c": {
        "first in, first out": counted(seen="continue"),
        "the last one leaves": counted(leave="there.pop()"),
        "every use counts": counted(seen="there.remove(page); count += 1"),
        "different pages": "def faults(order, sizes, budget):\n    return len(set(order))",
        "uses": "def faults(order, sizes, budget):\n    return len(order)",
        "counts bytes": counted(one="sizes[page]"),
        "pages of one size": counted(full="len(there) + 1 > budget"),
        "one page too few": counted(full="sum(sizes[p] for p in there) + sizes[page] >= budget and there"),
        "leaves only once": counted(
            full="False",
            leave="pass",
            come="""if page not in there and sum(sizes[p] for p in there) + sizes[page] > budget:
            there.pop(0)
        there.append(page)""",
        ),
        "the largest leaves": counted(leave="there.remove(max(there, key=lambda p: sizes[p]))"),
        "the first page is free": counted(give="max(count - 1, 0)"),
        "counts those that leave": counted(one="0", leave="there.pop(0); count += 1"),
        "budget ignored": counted(full="False"),
        "a text": counted(give="str(count)"),
        "empties the list": "def faults(order, sizes, budget):\n    there, count = [], 0\n    while order:\n"
        "        page = order.pop(0)\n        if page in there:\n            there.remove(page)\n        else:\n"
        "            count += 1\n            while sum(sizes[p] for p in there) + sizes[page] > budget:\n"
        "                there.pop(0)\n        there.append(page)\n    return count",
        "the library's pages": (
            "def faults(order, sizes, budget):\n"
            "    pages = Pages(budget)\n"
            "    numbers = [pages.new(size) for size in sizes]\n"
            "    count = 0\n"
            "    for page in order:\n"
            "        count += numbers[page] not in pages.resident\n"
            "        pages[numbers[page]]\n"
            "    return count"
        ),
    },
    "05-5-d": {
        "no change": chosen(change="[0.0] * 8"),
        "changes that are too small": chosen(change="[0.01] * 7 + [0.0]"),
        "five changes": chosen(change="[0.02] * 5 + [0.0] * 3"),
        "a change that arrives": chosen(change="[0.06] * 7 + [0.0]"),
        "one of them arrives": chosen(change="[0.02] * 6 + [0.2, 0.0]"),
        "the scale moves": chosen(change="[0.02] * 8"),
        "largest is 2": chosen(weights="[2 * float(one) for one in NF4_CODEBOOK[8:]]"),
        "seven weights": chosen(weights="[float(one) for one in NF4_CODEBOOK[9:]]"),
        "not a number": chosen(change="[float('nan')] * 8"),
        "averages too near": chosen(averages="[1.0] + [0.01] * 7"),
        "averages too far": chosen(averages="[1.0] + [1e-9] * 7"),
        "a zero among them": chosen(averages="[1.0, 0.0] + [1e-5] * 6"),
        "negative averages": chosen(averages="[1.0] + [-1e-5] * 7"),
        "five small ones": chosen(averages="[1.0] * 3 + [1e-5] * 5"),
        "the float base is the same": chosen(floats='"a"'),
        "shapes": chosen(floats='"c"'),
        "pages change weights": chosen(pages='"a"'),
        "pages change weights sometimes": chosen(pages='"b"'),
        "a gradient of 0": chosen(learns='"b"'),
        "only slower": chosen(learns='"c"'),
        "no letter": chosen(learns="1"),
    },
}
