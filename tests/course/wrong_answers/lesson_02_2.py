"""Plausible wrong answers to the exercises of lesson 02_2."""

TURN = """def turn(x, positions, base=10000.0, interleaved=False):
    half = x.shape[1] // 2
    frequencies = {frequencies}
    angles = {positions}[:, None] * frequencies
    a, b = {pairs}
    a, b = {turned}
    return {joined}"""
RIGHT = {
    "frequencies": "base ** (-torch.arange(half) / half)",
    "positions": "torch.tensor(positions)",
    "pairs": "(x[:, 0::2], x[:, 1::2]) if interleaved else (x[:, :half], x[:, half:])",
    "turned": "a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()",
    "joined": "torch.stack((a, b), dim=-1).flatten(1) if interleaved else torch.cat((a, b), dim=1)",
}
BLIND = "blind = ({q}, {k}, {t}, {s})"
SEES_NOTHING = {"q": "[1.0, 0, 0, 0, 0, 0, 0, 1.0]", "k": "[1.0, 0, 0, 0, 0, 0, 0, 1.0]", "t": "5", "s": "3"}
PLACES = """def places(mask):
    rows = []
    for row in mask:
        count, numbers = {first}, []
        for is_token in row:
            numbers.append({number})
            count += {step}
        rows.append(numbers)
    return rows"""
COUNTS = {"first": "0", "number": "count if is_token else 0", "step": "is_token"}

WRONG = {
    "02-2-a": {
        "ignores the base": TURN.format(**RIGHT | {"frequencies": "10000.0 ** (-torch.arange(half) / half)"}),
        "half the exponent": TURN.format(
            **RIGHT | {"frequencies": "base ** (-torch.arange(half) / x.shape[1])"}
        ),
        "one frequency for all pairs": TURN.format(**RIGHT | {"frequencies": "torch.ones(half)"}),
        "the slow pair first": TURN.format(
            **RIGHT | {"frequencies": "(base ** (-torch.arange(half) / half)).flip(0)"}
        ),
        "counts the rows": TURN.format(**RIGHT | {"positions": "torch.arange(len(positions))"}),
        "begins at place 1": TURN.format(**RIGHT | {"positions": "(torch.tensor(positions) + 1)"}),
        "sorts the positions": TURN.format(**RIGHT | {"positions": "torch.tensor(sorted(positions))"}),
        "turns backwards": TURN.format(
            **RIGHT | {"turned": "a * angles.cos() + b * angles.sin(), b * angles.cos() - a * angles.sin()"}
        ),
        "changes a before b": TURN.format(**RIGHT | {"turned": "a, b"}).replace(
            "    a, b = a, b\n",
            "    a = a * angles.cos() - b * angles.sin()\n    b = a * angles.sin() + b * angles.cos()\n",
        ),
        "always halves": TURN.format(
            **RIGHT | {"pairs": "x[:, :half], x[:, half:]", "joined": "torch.cat((a, b), dim=1)"}
        ),
        "always neighbours": TURN.format(
            **RIGHT | {"pairs": "x[:, 0::2], x[:, 1::2]", "joined": "torch.stack((a, b), dim=-1).flatten(1)"}
        ),
        "the pairings mixed up": TURN.format(
            **RIGHT
            | {
                "pairs": RIGHT["pairs"].replace("if interleaved", "if not interleaved"),
                "joined": RIGHT["joined"].replace("if interleaved", "if not interleaved"),
            }
        ),
        "leaves neighbours in the order of halves": TURN.format(
            **RIGHT | {"joined": "torch.cat((a, b), dim=1)"}
        ),
        "degrees": TURN.format(**RIGHT | {"positions": "torch.deg2rad(torch.tensor(positions).float())"}),
        "positions in 16 bits": TURN.format(
            **RIGHT | {"positions": "torch.tensor(positions).bfloat16().float()"}
        ),
        "changes x": """def turn(x, positions, base=10000.0, interleaved=False):
    half = x.shape[1] // 2
    angles = torch.tensor(positions)[:, None] * base ** (-torch.arange(half) / half)
    a, b = (x[:, 0::2], x[:, 1::2]) if interleaved else (x[:, :half], x[:, half:])
    first, second = a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()
    a.copy_(first), b.copy_(second)
    return x""",
        "the library's RoPE": """def turn(x, positions, base=10000.0, interleaved=False):
    rope = RoPE(x.shape[1], base, interleaved)
    return rope(x[None, None], x[None, None], torch.tensor(positions))[0][0, 0]""",
        "the library's formula": """def turn(x, positions, base=10000.0, interleaved=False):
    half = x.shape[1] // 2
    angles = torch.tensor(positions)[:, None] * base ** (-torch.arange(half) / half)
    return (rotate_neighbours if interleaved else rotate_halves)(x, angles.cos(), angles.sin())""",
        "the library's frequencies": TURN.format(
            **RIGHT | {"frequencies": "rope_frequencies(x.shape[1], base)"}
        ),
        "the library's table": """def turn(x, positions, base=10000.0, interleaved=False):
    cos, sin = turning_table(base ** (-torch.arange(0, x.shape[1], 2) / x.shape[1]), 1001, interleaved)
    cos, sin = cos[positions], sin[positions]
    swapped = x.unflatten(1, (-1, 2)).flip(-1).flatten(1) if interleaved else x.roll(x.shape[1] // 2, 1)
    return x * cos + swapped * sin""",
        "the library's turn by a hidden name": """def turn(x, positions, base=10000.0, interleaved=False):
    frequencies = base ** (-torch.arange(0, x.shape[1], 2) / x.shape[1])
    angles = torch.tensor(positions)[:, None] * frequencies
    pair = torch.stack if interleaved else torch.cat
    cos, sin = (pair(two, dim=-1).flatten(1) for two in ((angles.cos(),) * 2, (-angles.sin(), angles.sin())))
    return globals()["Rotation"](cos, sin, interleaved)._turn(x)""",
        "the library's waves by a hidden name": """def turn(x, positions, base=10000.0, interleaved=False):
    waves, half = globals()["sinusoids"](1001, x.shape[1], base)[positions], x.shape[1] // 2
    sin, cos = waves[:, ::2], waves[:, 1::2]
    a, b = (x[:, 0::2], x[:, 1::2]) if interleaved else (x[:, :half], x[:, half:])
    a, b = a * cos - b * sin, a * sin + b * cos
    return torch.stack((a, b), dim=-1).flatten(1) if interleaved else torch.cat((a, b), dim=1)""",
        "a table of the library, made before": """whole = RoPE(16).table(1001, torch.device("cpu"), torch.float32)


def turn(x, positions, base=10000.0, interleaved=False):
    cos, sin = whole[0][positions, : x.shape[1]], whole[1][positions, : x.shape[1]]
    return x * cos + x.roll(x.shape[1] // 2, 1) * sin""",
    },
    "02-2-b": {
        "the same place": BLIND.format(**SEES_NOTHING | {"s": "5"}),
        "all zero": BLIND.format(**SEES_NOTHING | {"q": "[0.0] * 8"}),
        "one number only": BLIND.format(**SEES_NOTHING | {"k": "[1.0, 0, 0, 0, 0, 0, 0, 0]"}),
        "a second number that is next to nothing": BLIND.format(
            **SEES_NOTHING | {"q": "[1.0, 1e-300, 0, 0, 0, 0, 0, 0]", "k": "[1.0, 0, 0, 0, 0, 0, 0, 1e-300]"}
        ),
        "coordinates of other pairs": BLIND.format(
            **SEES_NOTHING | {"q": "[0, 1.0, 0, 0, 0, 0, 1.0, 0]", "k": "[0, 1.0, 0, 0, 0, 0, 1.0, 0]"}
        ),
        "different numbers everywhere": BLIND.format(
            **SEES_NOTHING | {"q": "[1, 2, 3, 4, 5, 6, 7, 8]", "k": "[1, 1, 2, 2, 1, 1, 2, 2]"}
        ),
        "nothing is turned": BLIND.format(
            **SEES_NOTHING
            | {"q": "[0, 0, 0, 0.1, 0, 0, 0, 1.0]", "k": "[0, 0, 0, 0.1, 0, 0, 0, 1.0]", "t": "1"}
        ),
        "tiny numbers": BLIND.format(**SEES_NOTHING | {"q": "[1e-3, 2e-3] * 4", "k": "[3e-3, 1e-3] * 4"}),
        "a random test": BLIND.format(
            **SEES_NOTHING | {"q": "torch.randn(8).tolist()", "k": "torch.randn(8).tolist()"}
        ),
        "too large": BLIND.format(**SEES_NOTHING | {"q": "[100.0, 0, 0, 0, 0, 0, 0, 1.0]"}),
        "half a place": BLIND.format(**SEES_NOTHING | {"t": "5.5"}),
        "not a number": BLIND.format(**SEES_NOTHING | {"q": "[float('nan')] * 8"}),
        "vectors only": "blind = ([1.0, 0, 0, 0, 0, 0, 0, 1.0], [1.0, 0, 0, 0, 0, 0, 0, 1.0])",
        "says that it is equal": """class Equal(float):
    __abs__ = lambda self: Equal(0)
    __le__ = __ge__ = __eq__ = __ne__ = lambda self, other: True


blind = ([Equal(one) for one in range(8)], [Equal(one) for one in range(8)], 5, 3)""",
    },
    "02-2-c": {
        "counts the padding": PLACES.format(**COUNTS | {"step": "1"}),
        "begins at 1": PLACES.format(**COUNTS | {"first": "1"}),
        "padding goes on counting": PLACES.format(**COUNTS | {"number": "count"}),
        "padding is -1": PLACES.format(**COUNTS | {"number": "count if is_token else -1"}),
        "padding is 1, as in transformers": PLACES.format(**COUNTS | {"number": "count if is_token else 1"}),
        "the place in the row": "def places(mask):\n    return [list(range(len(row))) for row in mask]",
        "a running sum": "def places(mask):\n    return torch.tensor(mask).cumsum(1) - 1",
        "a running sum, cut at 0": "def places(mask):\n    return (torch.tensor(mask).cumsum(1) - 1).clamp(min=0)",
        "left padding only": """def places(mask):
    return [[max(i - row.index(1), 0) if 1 in row else 0 for i in range(len(row))] for row in mask]""",
        "one row for all": """def places(mask):
    first = [max(sum(mask[0][: i + 1]) - 1, 0) * one for i, one in enumerate(mask[0])]
    return [first for _ in mask]""",
    },
    "02-2-d": {
        "those that make a turn": "prediction = 21",
        "one too many": "prediction = 12",
        "one too few": "prediction = 10",
        "all": "prediction = 32",
        "half a turn": "prediction = sum(2048 * 10000 ** (-2 * i / 64) < 3.14159265 for i in range(32))",
        "radians taken for turns": "prediction = sum(2048 * 10000 ** (-2 * i / 64) < 1 for i in range(32))",
        "the exponent of one coordinate": "prediction = sum(2048 * 10000 ** (-i / 64) < 6.2831853 for i in range(32))",
        "says that it is equal": "class Equal(int):\n    __eq__ = lambda self, other: True\n\n\nprediction = Equal(3)",
        "a list": "prediction = [11]",
    },
}
