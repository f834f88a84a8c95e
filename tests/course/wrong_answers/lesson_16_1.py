"""Plausible wrong answers to the exercises of lesson 16_1."""

LSTM = """def lstm(x, W, U, b, h, c):
    {before}
    shown = []
    for token in {tokens}:
        {gates} = ({sum}).chunk(4)
        c = {cell}
        h = {show}
        shown.append({kept})
        {after}
    return {result}"""
RULE = {
    "before": "pass",
    "tokens": "x",
    "gates": "i, f, g, o",
    "sum": "W @ token + U @ h + b",
    "cell": "torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)",
    "show": "torch.sigmoid(o) * torch.tanh(c)",
    "kept": "h",
    "after": "pass",
    "result": "torch.stack(shown), c",
}


def lstm(**change):
    return LSTM.format(**RULE | change)


REACH = """def reach(w, xs):
    h, size = {start}
    for number, x in enumerate({tokens}):
        h = math.tanh({inside})
        size *= {factor}
    return {value}


exploding, vanishing, why = {pairs}"""
SOUND = {
    "start": "0.0, 1.0",
    "tokens": "xs",
    "inside": "w * h + x",
    "factor": "(w if number else 1.0) * (1 - h * h)",
    "value": "abs(size)",
    "pairs": '(2.0, [0.0] * 40), (2.0, [1.0] * 40), "b"',
}


def reach(**change):
    return REACH.format(**SOUND | change)


def bias(value):
    return f"def forget_bias(tokens, keep):\n    gate = keep ** (1 / tokens)\n    return {value}"


WRONG = {
    "16-1-a": {
        "adds instead of multiplying": "prediction = [1.5, 1.25, 0.185, 3, 48, 128]",
        "four steps instead of three": "prediction = [0.0625, 1.25, 0.185, 3, 48, 128]",
        "the old cell is kept whole": "prediction = [0.125, 2.25, 0.185, 3, 48, 128]",
        "the input gate is forgotten": "prediction = [0.125, 1.0, 0.185, 3, 48, 128]",
        "no tanh of the cell": "prediction = [0.125, 1.25, 0.2, 3, 48, 128]",
        "z the other way round": "prediction = [0.125, 1.25, 0.185, 1, 48, 128]",
        "one gate only": "prediction = [0.125, 1.25, 0.185, 3, 12, 128]",
        "two biases": "prediction = [0.125, 1.25, 0.185, 3, 56, 128]",
        "h alone is the state": "prediction = [0.125, 1.25, 0.185, 3, 48, 64]",
        "a state for every token": "prediction = [0.125, 1.25, 0.185, 3, 48, 128000]",
        "five numbers": "prediction = [0.125, 1.25, 0.185, 3, 48]",
        "a text": "prediction = '0.125, 1.25, 0.185, 3, 48, 128'",
    },
    "16-1-b": {
        "torch's layer from its own module": """def lstm(x, W, U, b, h, c):
    from torch.nn.modules.rnn import LSTM
    layer = LSTM(x.shape[1], len(h)).double()
    with torch.no_grad():
        layer.weight_ih_l0.copy_(W)
        layer.weight_hh_l0.copy_(U)
        layer.bias_ih_l0.copy_(b)
        layer.bias_hh_l0.zero_()
    y, (_, last) = layer(x, (h[None], c[None]))
    return y.detach(), last[0].detach()""",
        "the cell of torch.ops": """def lstm(x, W, U, b, h, c):
    out = []
    h, c = h[None], c[None]
    for t in x:
        h, c = torch.ops.aten.lstm_cell(t[None], [h, c], W, U, b, torch.zeros_like(b))
        out.append(h[0])
    return torch.stack(out), c[0]""",
        "i and f change places": lstm(gates="f, i, g, o"),
        "g and o change places": lstm(gates="i, f, o, g"),
        "the order of another library: i, g, f, o": lstm(gates="i, g, f, o"),
        "no forget gate": lstm(cell="c + torch.sigmoid(i) * torch.tanh(g)"),
        "no input gate": lstm(cell="torch.sigmoid(f) * c + torch.tanh(g)"),
        "the candidate through a sigmoid": lstm(
            cell="torch.sigmoid(f) * c + torch.sigmoid(i) * torch.sigmoid(g)"
        ),
        "the candidate without tanh": lstm(cell="torch.sigmoid(f) * c + torch.sigmoid(i) * g"),
        "the cell without tanh": lstm(show="torch.sigmoid(o) * c"),
        "no output gate": lstm(show="torch.tanh(c)"),
        "one minus the forget gate": lstm(
            cell="(1 - torch.sigmoid(f)) * c + torch.sigmoid(i) * torch.tanh(g)"
        ),
        "gates of tanh": lstm(cell="torch.tanh(f) * c + torch.tanh(i) * torch.tanh(g)"),
        "no bias": lstm(sum="W @ token + U @ h"),
        "no state in the gates": lstm(sum="W @ token + b"),
        "the bias twice": lstm(sum="W @ token + U @ h + 2 * b"),
        "U reads the cell": lstm(sum="W @ token + U @ c + b"),
        "starts from zeros": lstm(before="h, c = torch.zeros_like(h), torch.zeros_like(c)"),
        "forgets the given cell": lstm(before="c = torch.zeros_like(c)"),
        "forgets the given h": lstm(before="h = torch.zeros_like(h)"),
        "from the last token to the first": lstm(tokens="x.flip(0)"),
        "without the last token": lstm(tokens="x[: max(1, len(x) - 1)]"),
        "shows the cell": lstm(kept="c"),
        "the last h instead of the last c": lstm(result="torch.stack(shown), h"),
        "the last h alone": lstm(result="shown[-1], c"),
        "only what is shown": lstm(result="torch.stack(shown)"),
        "writes into the given state": lstm(after="_")
        .replace("    shown = []", "    state, shown = c, []")
        .replace("        _", "        state.copy_(c)"),
        "torch's layer": """def lstm(x, W, U, b, h, c):
    layer = torch.nn.LSTM(x.shape[1], len(h)).double()
    with torch.no_grad():
        layer.weight_ih_l0.copy_(W), layer.weight_hh_l0.copy_(U)
        layer.bias_ih_l0.copy_(b), layer.bias_hh_l0.zero_()
        y, (_, last) = layer(x, (h[None], c[None]))
    return y, last[0]""",
        "the library's step": """def lstm(x, W, U, b, h, c):
    from minillm.nn.recurrent import lstm_step
    shown = []
    for token in x:
        h, c = lstm_step(W @ token + b, (h, c), U, None)
        shown.append(h)
    return torch.stack(shown), c""",
    },
    "16-1-c": {
        "a quotient of small differences": """def run(w, xs):
    h = 0.0
    for x in xs:
        h = math.tanh(w * h + x)
    return h
def reach(w, xs):
    e = 1e-5
    return abs(run(w, [xs[0] + e, *xs[1:]]) - run(w, [xs[0] - e, *xs[1:]])) / (2 * e)
exploding, vanishing, why = (2.0, [0.0] * 40), (2.0, [1.0] * 40), 'b'""",
        "torch.autograd.backward": """def reach(w, xs):
    a = torch.tensor(xs[0], dtype=torch.float64, requires_grad=True)
    h = torch.zeros((), dtype=torch.float64)
    for n, x in enumerate(xs):
        h = torch.tanh(w * h + (a if n == 0 else x))
    torch.autograd.backward(h)
    return abs(float(a.grad))
exploding, vanishing, why = (2.0, [0.0] * 40), (2.0, [1.0] * 40), 'b'""",
        "w at the first token, too": reach(factor="w * (1 - h * h)"),
        "no slope of tanh": reach(factor="w if number else 1.0"),
        "no w": reach(factor="1 - h * h"),
        "the slope at the input": reach(factor="(w if number else 1.0) * (1 - x * x)"),
        "the slope without its square": reach(factor="(w if number else 1.0) * (1 - abs(h))"),
        "the sign stays": reach(value="size"),
        "the last factor is missing": reach(tokens="xs[:-1]"),
        "no tanh": reach(inside="w * h + x", factor="(w if number else 1.0) * (1 - h * h)").replace(
            "math.tanh", ""
        ),
        "w forgotten inside": reach(inside="h + x"),
        "begins at one": reach(start="1.0, 1.0"),
        "the list is emptied": reach(value="(xs.clear(), abs(size))[1]"),
        "different w": reach(pairs='(2.0, [0.0] * 40), (3.0, [1.0] * 40), "b"'),
        "w too small": reach(pairs='(1.0, [0.0] * 40), (1.0, [1.0] * 40), "b"'),
        "w too large": reach(pairs='(9.0, [0.0] * 40), (9.0, [1.0] * 40), "b"'),
        "nothing explodes": reach(pairs='(2.0, [0.5] * 40), (2.0, [1.0] * 40), "b"'),
        "nothing vanishes": reach(pairs='(2.0, [0.0] * 40), (2.0, [0.0] * 40), "b"'),
        "tokens too large": reach(pairs='(2.0, [0.0] * 40), (2.0, [5.0] * 40), "b"'),
        "thirty tokens": reach(pairs='(2.0, [0.0] * 30), (2.0, [1.0] * 40), "b"'),
        "another reason": reach(pairs='(2.0, [0.0] * 40), (2.0, [1.0] * 40), "a"'),
        "the length is the reason": reach(pairs='(2.0, [0.0] * 40), (2.0, [1.0] * 40), "c"'),
    },
    "16-1-d": {
        "a tensor's logit": """def forget_bias(tokens, keep):
    return float(torch.tensor(keep ** (1 / tokens), dtype=torch.float64).logit())""",
        "scipy's": """def forget_bias(tokens, keep):
    from scipy.special import logit
    return float(logit(keep ** (1 / tokens)))""",
        "the gate instead of the bias": bias("gate"),
        "the sign turned": bias("math.log((1 - gate) / gate)"),
        "the logarithm alone": bias("math.log(gate)"),
        "in base ten": bias("math.log10(gate / (1 - gate))"),
        "one token only": bias("math.log(keep / (1 - keep))"),
        "the share divided by the tokens": bias(
            "math.log((1 - (1 - keep) / tokens) / ((1 - keep) / tokens))"
        ),
        "always five": bias("5.0"),
        "the power the wrong way": bias("math.log(keep**tokens / (1 - keep**tokens))"),
        "rounded": bias("round(math.log(gate / (1 - gate)), 1)"),
        "a list": bias("[math.log(gate / (1 - gate))]"),
    },
}
