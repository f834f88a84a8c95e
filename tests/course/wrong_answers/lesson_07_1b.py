"""Plausible wrong answers to the exercises of lesson 07_1b."""

STEP = """def decode_step(weights, batch, cached, size, group, bandwidth, rate):
    reading = {reading}
    computing = {computing}
    return {seconds}, {limit}"""
FINE = {
    "reading": "(weights + batch * cached) * size / bandwidth",
    "computing": "2 * batch * (weights + group * cached) / rate",
    "seconds": "max(reading, computing)",
    "limit": '"memory" if reading > computing else "arithmetic"',
}
POOL = """def pool_heads(weight, heads, groups):
    D = weight.shape[0] // heads
    {body}"""
NEIGHBOURS = """def reads(heads, kv_heads):
    return {reads}


def misled(heads, kv_heads):
    return {misled}


finds, reason = {letters}"""
RIGHT = {
    "reads": "[h % kv_heads for h in range(heads)]",
    "misled": "sum(h % kv_heads != h // (heads // kv_heads) for h in range(heads))",
    "letters": '"c", "b"',
}
LYING = """class Anything(float):
    def __eq__(self, other):
        return True

    def __sub__(self, other):
        return 0.0

    def __rsub__(self, other):
        return 0.0


"""

WRONG = {
    "07-1b-a": {
        "counts one operation a weight": "prediction = [400, 100, 2]",
        "forgets the two bytes": "prediction = [100, 50, 8]",
        "4 bit does not change it": "prediction = [200, 200, 4]",
        "larger with smaller weights": "prediction = [200, 800, 4]",
        "time grows with the batch": "prediction = [200, 50, 800]",
        "numbers equal to everything": LYING + "prediction = [Anything(1), Anything(1), Anything(1)]",
    },
    "07-1b-b": {
        "adds both sides": STEP.format(**FINE | {"seconds": "reading + computing"}),
        "reads the weights for each text": STEP.format(
            **FINE | {"reading": "batch * (weights + cached) * size / bandwidth"}
        ),
        "reads one cache for all": STEP.format(**FINE | {"reading": "(weights + cached) * size / bandwidth"}),
        "one operation a weight": STEP.format(
            **FINE | {"computing": "batch * (weights + group * cached) / rate"}
        ),
        "forgets that heads share": STEP.format(
            **FINE | {"computing": "2 * batch * (weights + cached) / rate"}
        ),
        "reads a shared head for each query head": STEP.format(
            **FINE | {"reading": "(weights + batch * group * cached) * size / bandwidth"}
        ),
        "always 16 bit": STEP.format(**FINE | {"reading": "(weights + batch * cached) * 2 / bandwidth"}),
        "names the faster side": STEP.format(
            **FINE | {"limit": '"memory" if reading < computing else "arithmetic"'}
        ),
        "compares the batch with B* and forgets the cache": STEP.format(
            **FINE | {"limit": '"memory" if batch < rate * size / (2 * bandwidth) else "arithmetic"'}
        ),
        "the library's own": """def decode_step(weights, batch, cached, size, group, bandwidth, rate):
    reading, computing = (weights + batch * cached) * size, 2 * batch * (weights + group * cached)
    limit = "memory" if reading / bandwidth > computing / rate else "arithmetic"
    return predicted_seconds(Work(computing, reading), Machine(bandwidth, rate)), limit""",
        "a number equal to everything": LYING + STEP.format(**FINE | {"seconds": "Anything(1)"}),
    },
    "07-1b-c": {
        "the first head": POOL.format(
            body="return weight.reshape(groups, heads // groups, D, *weight.shape[1:])[:, 0].flatten(0, 1)"
        ),
        "the sum": POOL.format(
            body="return weight.reshape(groups, heads // groups, D, *weight.shape[1:]).sum(1).flatten(0, 1)"
        ),
        "every K-th head is a group": POOL.format(
            body="return weight.reshape(heads // groups, groups, D, *weight.shape[1:]).mean(0).flatten(0, 1)"
        ),
        "rows of a head are taken apart": POOL.format(
            body="return weight.reshape(groups * D, heads // groups, *weight.shape[1:]).mean(1)"
        ),
        "no bias": POOL.format(
            body="return weight.reshape(groups, heads // groups, D, weight.shape[1]).mean(1).flatten(0, 1)"
        ),
        "one group": POOL.format(body="return weight.reshape(heads, D, *weight.shape[1:]).mean(0)"),
        "changes what it is given": POOL.format(
            body="parts = weight.view(groups, heads // groups, D, *weight.shape[1:])\n"
            "    mean = parts.mean(1).flatten(0, 1)\n    weight.zero_()\n    return mean"
        ),
        "the library's own": POOL.format(body="return mean_of_heads(weight, heads, groups)"),
        "the library's own, imported inside": POOL.format(
            body="from minillm.models import uptraining\n\n    return uptraining.mean_of_heads(weight, heads, groups)"
        ),
        "the library's own, found by its name": POOL.format(
            body='import importlib\n\n    room = importlib.import_module("mini" + "llm.models.uptraining")\n'
            '    return getattr(room, "mean_of" + "_heads")(weight, heads, groups)'
        ),
        "a list": POOL.format(
            body="return weight.reshape(groups, heads // groups, D, *weight.shape[1:]).mean(1).flatten(0, 1).tolist()"
        ),
    },
    "07-1b-d": {
        "reads as the right line": NEIGHBOURS.format(
            **RIGHT | {"reads": "[h // (heads // kv_heads) for h in range(heads)]"}
        ),
        "modulo the group": NEIGHBOURS.format(
            **RIGHT | {"reads": "[h % (heads // kv_heads) for h in range(heads)]"}
        ),
        "all are misled": NEIGHBOURS.format(**RIGHT | {"misled": "heads"}),
        "all but the first and the last": NEIGHBOURS.format(
            **RIGHT | {"misled": "0 if kv_heads in (1, heads) else heads - 2"}
        ),
        "training finds it": NEIGHBOURS.format(**RIGHT | {"letters": '"a", "b"'}),
        "one key head finds it": NEIGHBOURS.format(**RIGHT | {"letters": '"b", "b"'}),
        "shapes find it": NEIGHBOURS.format(**RIGHT | {"letters": '"d", "b"'}),
        "the keys do not matter": NEIGHBOURS.format(**RIGHT | {"letters": '"c", "a"'}),
        "RoPE corrects it": NEIGHBOURS.format(**RIGHT | {"letters": '"c", "c"'}),
    },
}
