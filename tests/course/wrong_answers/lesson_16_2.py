"""Plausible wrong answers to the exercises of lesson 16_2."""

KERNEL = """def kernel(A, B, C, step, length):
    identity = torch.eye(len(A), dtype=A.dtype)
    below = {below}
    bar, state = {bar}, {drive}
    shown = []
    for _ in range({count}):
        {first}
        {second}
    return {result}"""
RULE = {
    "below": "torch.linalg.inv(identity - step / 2 * A)",
    "bar": "below @ (identity + step / 2 * A)",
    "drive": "below @ (step * B)",
    "count": "length",
    "first": "shown.append(C @ state)",
    "second": "state = bar @ state",
    "result": "torch.stack(shown)",
}


def kernel(**change):
    return KERNEL.format(**RULE | change)


HELD = """def held(a, step):
    {before}

    def ratio(z):
        if abs(z) > {limit}:
            return (cmath.exp(z) - 1) / z
        return {small}

    return {result}"""
SOUND = {
    "before": "pass",
    "limit": "0.01",
    "small": "sum(z**n / math.factorial(n + 1) for n in range(8))",
    "result": "[cmath.exp(step * one) for one in a], [step * ratio(step * one) for one in a]",
}


def held(**change):
    return HELD.format(**SOUND | change)


BROKEN = """def euler(a, step, count):
    x = {start}
    for _ in range({steps}):
        x = {next}
    return {value}


explodes = {explodes}
alike = {alike}
why = {why}"""
RIGHT = {
    "start": "1.0",
    "steps": "count",
    "next": "x + step * a * x",
    "value": "x",
    "explodes": "(-10.0, 0.3)",
    "alike": "(1.0, 1.0 + 4 * math.pi, 0.5)",
    "why": '"b"',
}


def broken(**change):
    return BROKEN.format(**RIGHT | change)


WRONG = {
    "16-2-a": {
        "zero-order hold in the first": "prediction = [0.368, 0.316, 0.75, 7, 200, 128]",
        "Euler in the first": "prediction = [0.0, 0.316, 0.75, 7, 200, 128]",
        "bilinear in the second": "prediction = [1 / 3, 1 / 3, 0.75, 7, 200, 128]",
        "the sign of the second": "prediction = [1 / 3, -0.316, 0.75, 7, 200, 128]",
        "not divided by a": "prediction = [1 / 3, 0.632, 0.75, 7, 200, 128]",
        "one power too many": "prediction = [1 / 3, 0.316, 0.375, 7, 200, 128]",
        "without the input": "prediction = [1 / 3, 0.316, 0.375 / 2, 7, 200, 128]",
        "the kernel is not turned round": "prediction = [1 / 3, 0.316, 0.75, 13, 200, 128]",
        "only the newest": "prediction = [1 / 3, 0.316, 0.75, 3, 200, 128]",
        "one over the step": "prediction = [1 / 3, 0.316, 0.75, 7, 100, 128]",
        "without pi": "prediction = [1 / 3, 0.316, 0.75, 7, 628.3, 128]",
        "the number of powers of the plain kernel": "prediction = [1 / 3, 0.316, 0.75, 7, 200, 4096]",
        "fine powers alone": "prediction = [1 / 3, 0.316, 0.75, 7, 200, 64]",
        "five numbers": "prediction = [1 / 3, 0.316, 0.75, 7, 200]",
    },
    "16-2-b": {
        "Euler's steps": kernel(below="identity"),
        "backward Euler": kernel(below="torch.linalg.inv(identity - step * A)", bar="below"),
        "zero-order hold": kernel(bar="torch.matrix_exp(step * A)"),
        "the sign of the half step": kernel(below="torch.linalg.inv(identity + step / 2 * A)"),
        "whole steps instead of halves": kernel(
            below="torch.linalg.inv(identity - step * A)", bar="below @ (identity + step * A)"
        ),
        "B as it is": kernel(drive="B.clone()"),
        "B without the length of the step": kernel(drive="below @ B"),
        "B without the inverse": kernel(drive="step * B"),
        "begins with the first power": kernel(first="state = bar @ state", second="shown.append(C @ state)"),
        "one too few": kernel(count="max(1, length - 1)"),
        "one too many": kernel(count="length + 1"),
        "A the wrong way": kernel(second="state = state @ bar"),
        "C is forgotten": kernel(first="shown.append(state.sum())"),
        "the steps of 1 only": kernel().replace("    identity", "    step = 1.0\n    identity"),
        "only the diagonal of A": kernel().replace(
            "    identity", "    A = torch.diag(A.diag())\n    identity"
        ),
        "the last number first": kernel(result="torch.stack(shown).flip(0)"),
        "rounded": kernel(result="torch.stack(shown).round(decimals=3)"),
        "the running sum": kernel(result="torch.stack(shown).cumsum(0)"),
        "writes into A": kernel().replace("    identity", "    A *= 1 + 1e-9\n    identity"),
        "writes into B": kernel(drive="B.mul_(step)", second="state = bar @ state", below="identity"),
        "the library's steps": """def kernel(A, B, C, step, length):
    from minillm.nn import bilinear
    bar, state = bilinear(A, B, step)
    return torch.stack([C @ torch.linalg.matrix_power(bar, k) @ state for k in range(length)])""",
        "scipy's steps": """def kernel(A, B, C, step, length):
    from scipy import signal
    system = A.numpy(), B[:, None].numpy(), C[None].numpy(), [[0.0]]
    bar, drive = (torch.tensor(one) for one in signal.cont2discrete(system, step, "bilinear")[:2])
    return torch.stack([C @ torch.linalg.matrix_power(bar, k) @ drive[:, 0] for k in range(length)])""",
        "the library's steps by another name": """def kernel(A, B, C, step, length):
    import sys
    steps = getattr(sys.modules["mini" + "llm.nn"], "bil" + "inear")
    bar, state = steps(A, B, step)
    return torch.stack([C @ torch.linalg.matrix_power(bar, k) @ state for k in range(length)])""",
        "the library's run": """def kernel(A, B, C, step, length):
    from minillm.nn.hippo import bilinear, run_flow
    pulse = torch.zeros(length).double()
    pulse[0] = 1.0
    return run_flow(*bilinear(A, B, step), pulse) @ C""",
    },
    "16-2-c": {
        "divides by zero": held(limit="-1"),
        "nothing at zero": held(limit="0", small="0"),
        "only zero is caught": held(limit="0", small="1"),
        "one below a billionth": held(limit="1e-9", small="1"),
        "one below 0.01": held(small="1"),
        "two terms": held(small="1 + z / 2"),
        "three terms": held(small="1 + z / 2 + z * z / 6"),
        "a short series for small ones": held(limit="0.009", small="1 + z / 2 + z * z / 6"),
        "two terms up to a thousandth": held(limit="1e-3", small="1 + z / 2"),
        "the series for all": held(limit="1e9"),
        "the series from n": held(small="sum(z**n / math.factorial(max(n, 1)) for n in range(8))"),
        "without the step": held(
            result="[cmath.exp(step * one) for one in a], [ratio(step * one) for one in a]"
        ),
        "the step forgotten in Ā": held(
            result="[cmath.exp(one) for one in a], [step * ratio(step * one) for one in a]"
        ),
        "bilinear": """def held(a, step):
    below = [1 - step / 2 * one for one in a]
    return [(1 + step / 2 * one) / b for one, b in zip(a, below)], [step / b for b in below]""",
        "real parts": held(
            result="[cmath.exp(step * one).real for one in a], [step * ratio(step * one) for one in a]"
        ),
        "B̄ first": held(
            result="[step * ratio(step * one) for one in a], [cmath.exp(step * one) for one in a]"
        ),
        "zeros left out": held(before="a = [one for one in a if one]"),
        "the list is emptied": held(
            result="([cmath.exp(step * one) for one in a], [step * ratio(step * one) for one in a], a.clear())[:2]"
        ),
        "expm1": """def held(a, step):
    z = step * torch.tensor(a, dtype=torch.complex128)
    still = z == 0
    return z.exp(), step * torch.where(still, 1, torch.expm1(z) / torch.where(still, 1, z))""",
        "expm1 by another name": """def held(a, step):
    z = step * torch.tensor(a, dtype=torch.complex128)
    still = z == 0
    ratio = torch.ops.aten.expm1(z) / torch.where(still, 1, z)
    return z.exp(), step * torch.where(still, 1, ratio)""",
        "numpy's expm1": """def held(a, step):
    from numpy import expm1
    return [cmath.exp(step * one) for one in a], [complex(expm1(step * one)) / one if one else step for one in a]""",
        "the library's table": """def held(a, step):
    import sys
    modules = sys.modules
    table = vars(modules["mini" + "llm.nn.s4d"])["DISCRETE"]
    return table["zoh"](modules["torch"].tensor(a) + 0j, modules["torch"].tensor(step))""",
        "the library": """def held(a, step):
    from minillm.nn.s4d import held_steps
    return held_steps(torch.tensor(a, dtype=torch.complex128), torch.tensor(step).double())""",
    },
    "16-2-d": {
        "starts from zero": broken(start="0.0"),
        "one step too many": broken(steps="count + 1"),
        "one step too few": broken(steps="max(0, count - 1)"),
        "the exact flow": broken(value="math.exp(a * step * count)"),
        "forgets x": broken(next="x + step * a"),
        "without the step": broken(next="x + a * x"),
        "the sign of a": broken(next="x - step * a * x"),
        "backward": broken(next="x / (1 - step * a)"),
        "Euler does not explode": broken(explodes="(-1.0, 0.3)"),
        "it explodes too slowly": broken(explodes="(-2.1, 1.0)"),
        "a flow that grows": broken(explodes="(10.0, 0.3)"),
        "the bilinear factor near one": broken(explodes="(-100.0, 1.0)"),
        "a negative step": broken(explodes="(-10.0, -0.3)"),
        "the same wave": broken(alike="(1.0, 1.0, 0.5)"),
        "half a turn apart": broken(alike="(1.0, 1.0 + 2 * math.pi, 0.5)"),
        "about a turn": broken(alike="(1.0, 13.57, 0.5)"),
        "mirrored": broken(alike="(math.pi - 1, math.pi + 1, 1.0)"),
        "a negative frequency": broken(alike="(1.0 - 4 * math.pi, 1.0, 0.5)"),
        "the step too long": broken(alike="(1.0, 2.0, 2 * math.pi)"),
        "another reason": broken(why='"a"'),
        "the step is short": broken(why='"c"'),
    },
}
