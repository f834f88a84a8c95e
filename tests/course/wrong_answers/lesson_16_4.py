"""Plausible wrong answers to the exercises of lesson 16_4."""

LAYER = """def read(w, x, conv, h):
    {before}
    K, R, N = w["conv1d.weight"].shape[2], w["dt_proj.weight"].shape[1], w["A_log"].shape[1]
    silu, softplus, ys = torch.nn.functional.silu, torch.nn.functional.softplus, []
    A = {A}
    for token in x:
        u, z = {halves}
        window = torch.cat([{window}])
        conv = {conv}
        u = {u}
        dt, B, C = (w["x_proj.weight"] @ {chooser}).split({split})
        dt = {dt}
        h = {h}
        ys.append(w["out_proj.weight"] @ ({y}))
    {after}
    return {result}"""
SOUND = {
    "before": "pass",
    "A": '-torch.exp(w["A_log"])',
    "halves": '(w["in_proj.weight"] @ token).chunk(2)',
    "window": "conv, u[None]",
    "conv": "window[1:]",
    "u": 'silu((window * w["conv1d.weight"][:, 0].T).sum(0) + w["conv1d.bias"])',
    "chooser": "u",
    "split": "[R, N, N]",
    "dt": 'softplus(w["dt_proj.weight"] @ dt + w["dt_proj.bias"])',
    "h": "torch.exp(dt[:, None] * A) * h + (dt * u)[:, None] * B",
    "y": '(h @ C + w["D"] * u) * silu(z)',
    "after": "pass",
    "result": "torch.stack(ys), conv, h",
}


def layer(**change):
    return LAYER.format(**SOUND | change)


MACHINE = """def choose(instruction, names):
    own = [1.0 if name == instruction[1] else 0.0 for name in names]
    none = [0.0] * len(names)
    if instruction[0] == "get":
        return {get}
    value = instruction[2]
    return {set}"""
CHOICES = {
    "get": "none, none, own, own",
    "set": "[value / 50 * one for one in own], [50 * one for one in own], own, own",
}


def machine(**change):
    return MACHINE.format(**CHOICES | change)


BOOKS = """def confusable(keys):
    {before}
    silent = {silent}
    silent = silent * ({size} / silent.abs().max())
    return {result}"""
TWO = {
    "before": "pass",
    "silent": "torch.linalg.svd(keys.T)[2][-1]",
    "size": "5",
    "result": "silent, -silent",
}


def books(**change):
    return BOOKS.format(**TWO | change)


def by_hand(**change):
    numbers = {"a": "152000", "b": "19", "c": "60000", "d": "7", "e": "35", "f": "4", "g": "5"} | change
    return f"prediction = [{', '.join(numbers.values())}]"


WRONG = {
    "16-4-a": {
        "the gate first": layer(halves='reversed((w["in_proj.weight"] @ token).chunk(2))'),
        "the convolution the wrong way round": layer(
            u='silu((window * w["conv1d.weight"][:, 0].T.flip(0)).sum(0) + w["conv1d.bias"])'
        ),
        "this token first": layer(window="u[None], conv", conv="window[:-1]"),
        "the convolution forgets": layer(conv="torch.zeros_like(conv)"),
        "the oldest stays": layer(conv="window[: K - 1]"),
        "the convolution keeps what came out of it": layer(
            conv="window[1:]",
            chooser="u",
            before="pass",
            after="conv = torch.nn.functional.silu(conv)",
        ),
        "no bias of the convolution": layer(u='silu((window * w["conv1d.weight"][:, 0].T).sum(0))'),
        "no SiLU behind the convolution": layer(
            u='(window * w["conv1d.weight"][:, 0].T).sum(0) + w["conv1d.bias"]'
        ),
        "only the last weight": layer(u='silu(u * w["conv1d.weight"][:, 0, -1] + w["conv1d.bias"])'),
        "B and C exchanged": layer(
            h="torch.exp(dt[:, None] * A) * h + (dt * u)[:, None] * C",
            y='(h @ B + w["D"] * u) * silu(z)',
        ),
        "Δ last": layer(
            dt='softplus(w["dt_proj.weight"] @ (w["x_proj.weight"] @ u)[-R:] + w["dt_proj.bias"])'
        ),
        "Δ without softplus": layer(dt='w["dt_proj.weight"] @ dt + w["dt_proj.bias"]'),
        "Δ's bias inside twice": layer(
            dt='softplus(w["dt_proj.weight"] @ dt + w["dt_proj.bias"]) + w["dt_proj.bias"]'
        ),
        "Δ's bias left out": layer(dt='softplus(w["dt_proj.weight"] @ dt)'),
        "A is A_log": layer(A='w["A_log"]'),
        "A = exp(A_log), growing": layer(A='torch.exp(w["A_log"])'),
        "no Δ before x B": layer(h="torch.exp(dt[:, None] * A) * h + u[:, None] * B"),
        "an Euler step of the decay": layer(h="(1 + dt[:, None] * A) * h + (dt * u)[:, None] * B"),
        "the hold for B, too": layer(
            h="torch.exp(dt[:, None] * A) * h + (torch.exp(dt[:, None] * A) - 1) / A * u[:, None] * B"
        ),
        "read before it is written": layer(
            h="h", y='(h @ C + w["D"] * u) * silu(z)', result="torch.stack(ys), conv, h"
        ),
        "no way past the scan": layer(y="(h @ C) * silu(z)"),
        "the way past the scan is outside the gate": layer(y='(h @ C) * silu(z) + w["D"] * u'),
        "a sigmoid gate": layer(y='(h @ C + w["D"] * u) * torch.sigmoid(z)'),
        "no gate": layer(y='h @ C + w["D"] * u'),
        "with the residual": layer(result="torch.stack(ys) + x, conv, h"),
        "the state starts at zero": layer(before="h = torch.zeros_like(h)"),
        "the convolution starts at zero": layer(before="conv = torch.zeros_like(conv)"),
        "the state comes back as it was": layer(before="old = h", result="torch.stack(ys), conv, old"),
        "only the outputs": layer(result="torch.stack(ys)"),
        "the last output": layer(result="ys[-1], conv, h"),
        "writes into h": layer(after="x.zero_()"),
        "writes into the weights": layer(before='w["A_log"] += 0.0; w["D"].mul_(1.0).add_(1e-3)'),
        "adds a name to the weights": layer(before='w["A"] = -torch.exp(w["A_log"])'),
        "the library's layer": """def read(w, x, conv, h):
    from minillm.models import MambaConfig
    from minillm.models.mamba import MambaMixer
    (D, N), C, K = w["A_log"].shape, x.shape[1], w["conv1d.weight"].shape[2]
    layer = MambaMixer(MambaConfig(vocab_size=9, hidden_size=C, state_size=N, num_hidden_layers=1, conv_kernel=K,
                                   expand=D / C, time_step_rank=w["dt_proj.weight"].shape[1])).double()
    layer.load_state_dict({name.replace("conv1d.", "conv_"): one for name, one in w.items()})
    with torch.no_grad():
        y, (conv, h) = layer(x[None], (conv[None], h[None]))
    return y[0], conv[0], h[0]""",
        "the library's scan": """def read(w, x, conv, h):
    from minillm.nn.mamba import causal_conv
    from minillm.nn.scans import scan_loop
    R, N = w["dt_proj.weight"].shape[1], w["A_log"].shape[1]
    u, z = (x @ w["in_proj.weight"].T).chunk(2, dim=1)
    u, conv = causal_conv(u[None], w["conv1d.weight"][:, 0], w["conv1d.bias"], conv[None])
    u = torch.nn.functional.silu(u)
    dt, B, C = (u @ w["x_proj.weight"].T).split([R, N, N], dim=2)
    dt = torch.nn.functional.softplus(dt @ w["dt_proj.weight"].T + w["dt_proj.bias"])
    y, h = scan_loop(u, dt, -torch.exp(w["A_log"]), B, C, h[None])
    y = (y[0] + w["D"] * u[0]) * torch.nn.functional.silu(z)
    return y @ w["out_proj.weight"].T, conv[0], h[0]""",
    },
    "16-4-b": {
        "Δ = 1 does not forget enough": machine(set="[value * one for one in own], own, own, own"),
        "x is not divided by Δ": machine(
            set="[value * one for one in own], [50 * one for one in own], own, own"
        ),
        "Δ too small to reset": machine(
            set="[value / 5 * one for one in own], [5 * one for one in own], own, own"
        ),
        "every channel is reset": machine(
            set="[value / 50 * one for one in own], [50.0] * len(names), own, own"
        ),
        "time passes at a question": machine(get="none, [0.1] * len(names), own, own"),
        "the question resets": machine(get="none, [50 * one for one in own], own, own"),
        "every place is read": machine(get="none, none, own, [1.0] * len(names)"),
        "written everywhere, one is read": machine(
            set="[value / 50 * one for one in own], [50 * one for one in own], [1.0] * len(names), own"
        ),
        "nothing is read": machine(get="none, none, own, none"),
        "nothing is written": machine(
            set="[value / 50 * one for one in own], [50 * one for one in own], none, own"
        ),
        "a memory in a global": """held = {}


def choose(instruction, names):
    none, ones = [0.0] * len(names), [1.0] * len(names)
    if instruction[0] == "set":
        held[instruction[1]] = instruction[2]
        return none, ones, none, none
    first = [1.0] + none[1:]
    return [held.get(instruction[1], 0.0) / 50 * one for one in first], [50.0] * len(names), first, first""",
        "a memory on the function": """def choose(instruction, names):
    held = choose.__dict__.setdefault("held", {})
    none, first = [0.0] * len(names), [1.0] + [0.0] * (len(names) - 1)
    if instruction[0] == "set":
        held[instruction[1]] = instruction[2]
        return none, none, none, none
    return [held.get(instruction[1], 0.0) / 50 * one for one in first], [50.0] * len(names), first, first""",
        "Δ below zero brings back": machine(
            set="[value / 50 * one for one in own], [50 * one for one in own], own, own",
            get="none, [-one for one in own], own, own",
        ),
        "Δ without end": machine(
            set="[0.0 for one in own], [float('inf') * one if one else 0.0 for one in own], own, own"
        ),
        "numbers too large": machine(
            set="[value / 1e7 * one for one in own], [1e7 * one for one in own], own, own"
        ),
        "only the first name": """def choose(instruction, names):
    own = [1.0] + [0.0] * (len(names) - 1)
    none = [0.0] * len(names)
    if instruction[0] == "get":
        return none, none, own, own
    return [instruction[2] / 50 * one for one in own], [50 * one for one in own], own, own""",
        "names by their first letter": """def choose(instruction, names):
    own = [1.0 if name[-1] == instruction[1][-1] else 0.0 for name in names]
    none = [0.0] * len(names)
    if instruction[0] == "get":
        return none, none, own, own
    return [instruction[2] / 50 * one for one in own], [50 * one for one in own], own, own""",
        "rounded values": machine(
            set="[round(value) / 50 * one for one in own], [50 * one for one in own], own, own"
        ),
        "values of at least zero": machine(
            set="[max(value, 0.0) / 50 * one for one in own], [50 * one for one in own], own, own"
        ),
        "three listings": machine(get="none, none, own"),
        "one number too many": machine(get="none + [0.0], none + [0.0], own + [0.0], own + [0.0]"),
        "names are sorted in place": """def choose(instruction, names):
    names.sort(reverse=True)
    own = [1.0 if name == instruction[1] else 0.0 for name in names]
    none = [0.0] * len(names)
    if instruction[0] == "get":
        return none, none, own, own
    return [instruction[2] / 50 * one for one in own], [50 * one for one in own], own, own""",
    },
    "16-4-c": {
        "the loudest direction": books(silent="torch.linalg.svd(keys.T)[2][0]"),
        "the columns of V": books(silent="torch.linalg.svd(keys.T)[2][:, -1]"),
        "the wrong side": books(silent="torch.linalg.svd(keys)[0][:, 0]"),
        "the same book twice": books(result="silent, silent"),
        "too much alike": books(size="0.1"),
        "values too large": books(size="50"),
        "one book": books(result="silent"),
        "three books": books(result="silent, -silent, silent"),
        "two random books": books(silent="torch.randn(len(keys)).double()"),
        "the first value alone": books(silent="torch.eye(len(keys)).double()[0]"),
        "two keys that look alike": """def confusable(keys):
    near = torch.cdist(keys, keys) + 1e9 * torch.eye(len(keys))
    i, j = divmod(int(near.argmin()), len(keys))
    one, two = torch.zeros(len(keys)), torch.zeros(len(keys))
    one[i], two[j] = 5.0, 5.0
    return one, two""",
        "right for N + 1 keys": """def confusable(keys):
    n, N = keys.shape
    own = torch.linalg.lstsq(keys[:N].T, keys[N]).solution
    silent = torch.zeros(n).double()
    silent[:N], silent[N] = own, -1.0
    return silent, -silent""",
        "the keys are overwritten": books(before="keys = keys.mul_(2.0)"),
        "n - 1 values": books(result="silent[:-1], -silent[:-1]"),
        "float32 is too coarse": """def confusable(keys):
    silent = torch.linalg.svd(keys.half().float().T)[2][-1]
    silent = silent * (5 / silent.abs().max())
    return silent, -silent""",
        "the sum of the keys": books(silent="keys @ keys.sum(0) + 1e-3"),
        "not a number": books(result="silent * float('nan'), silent"),
    },
    "16-4-d": {
        "without the convolution": by_hand(a="128000"),
        "K tokens, not K - 1": by_hand(a="160000"),
        "numbers, not bytes": by_hand(a="38000"),
        "of one layer": by_hand(a="15200"),
        "keys alone": by_hand(b="38"),
        "rounded up": by_hand(b="20"),
        "exact": by_hand(b="19.2"),
        "in_proj is (D, C)": by_hand(c="40000"),
        "in_proj alone": by_hand(c="40000.0"),
        "rounded down to 6": by_hand(d="6"),
        "not rounded": by_hand(d="6.25"),
        "A forgotten": by_hand(e="70"),
        "one too few": by_hand(e="34"),
        "without the token itself": by_hand(f="3"),
        "all that follow": by_hand(f="1"),
        "written over": by_hand(g="3"),
        "the mean": by_hand(g="2.5"),
        "six numbers": "prediction = [152000, 19, 60000, 7, 35, 4]",
        "a text": "prediction = 'seven numbers'",
    },
}
