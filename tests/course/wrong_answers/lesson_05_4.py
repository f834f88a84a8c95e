"""Plausible wrong answers to the exercises of lesson 05_4."""

RIGHT = [16 * 15104, 8388608, 100663296, 0.25, 2.0, 45088768]


def numbers(**changed):
    """The six numbers, some of them wrong: one_2=... is number 2."""
    found = [changed.get(f"n{place}", right) for place, right in enumerate(RIGHT, 1)]
    return f"prediction = {found}"


STEP = """def lora_step(x, W, A, B, alpha, g):
    s = {scale}
    narrow, back = x @ A.T, g @ B
    y = {y}
    return {y_out}, {dA}, {dB}, {dx}"""
FINE = {
    "scale": "alpha / len(A)",
    "y": "x @ W.T + s * narrow @ B.T",
    "y_out": "y",
    "dA": "s * back.T @ x",
    "dB": "s * g.T @ narrow",
    "dx": "g @ W + s * back @ A",
}


def step(**changed):
    """The right function, with other lines."""
    return STEP.format(**FINE | changed)


BEST = """def best_adapter(D, r):
    U, S, V = torch.linalg.svd(D, full_matrices=False)
    return {A}, {B}"""


def best(A="V[:r]", B="U[:, :r] * S[:r]"):
    """The right function, with other factors."""
    return BEST.format(A=A, B=B)


CHOSEN = {
    "stuck": "([[0, 0, 0, 0]], [[0], [0], [0]])",
    "slow": "([[1, 0, 0, 0], [0, 0, 0, 0]], [[0, 1], [0, 1], [0, 1]])",
    "narrow": "([[1, 2, 3, 4], [1, 2, 3, 4]], [[0, 0], [0, 0], [0, 0]])",
    "agree": '"a"',
    "shared": '"b"',
    "rounded": '"b"',
}


def chosen(**changed):
    """The right choice, with other parts."""
    return "\n".join(f"{name} = {value}" for name, value in (CHOSEN | changed).items())


AUTOGRAD = """def lora_step(x, W, A, B, alpha, g):
    x, A, B = (t.clone().requires_grad_() for t in (x, A, B))
    y = x @ W.T + alpha / len(A) * x @ A.T @ B.T
    {way}
    return y.detach(), {found}"""

WRONG = {
    "05-4-a": {
        "the whole matrix learns": numbers(n1=4096 * 11008),
        "A alone": numbers(n1=16 * 11008),
        "B alone": numbers(n1=16 * 4096),
        "A and B multiplied": numbers(n1=16 * 4096 * 11008),
        "one matrix a block": numbers(n2=32 * 8 * 8192),
        "one block": numbers(n2=4 * 8 * 8192),
        "A alone in the second": numbers(n2=32 * 4 * 8 * 4096),
        "one average": numbers(n3=8 * 8388608),
        "the numbers themselves counted, too": numbers(n3=16 * 8388608),
        "half precision": numbers(n3=6 * 8388608),
        "r / alpha": numbers(n4=4.0),
        "alpha alone": numbers(n4=16),
        "alpha / r in the fifth, too": numbers(n5=0.25),
        "√alpha / r": numbers(n5=16**0.5 / 64),
        "√(alpha / r)": numbers(n5=0.5),
        "the path is still paid for": numbers(n6=45088768 + 16 * 15104),
        "only the path is paid for": numbers(n6=16 * 15104),
        "no number for the last": f"prediction = {RIGHT[:5]}",
        "a text": "prediction = 'many'",
    },
    "05-4-b": {
        "no scale in y": step(y="x @ W.T + narrow @ B.T"),
        "alpha alone": step(scale="alpha"),
        "alpha over the root": step(scale="alpha / len(A) ** 0.5"),
        "r from the wrong side of A": step(scale="alpha / A.shape[1]"),
        "r over alpha": step(scale="len(A) / alpha"),
        "scale 2, as with the usual settings": step(scale="2.0"),
        "the path alone": step(y="s * narrow @ B.T"),
        "the base alone": step(y="x @ W.T"),
        "W not transposed": step(y="x @ W + s * narrow @ B.T"),
        "no scale in A's gradient": step(dA="back.T @ x"),
        "no scale in B's gradient": step(dB="g.T @ narrow"),
        "A's gradient transposed": step(dA="s * x.T @ back"),
        "B's gradient transposed": step(dB="s * narrow.T @ g"),
        "A's gradient without B": step(dA="s * (g.sum(dim=1, keepdim=True).T @ x).expand(A.shape).clone()"),
        "A's gradient is a mean over the rows": step(dA="s * back.T @ x / len(x)"),
        "B's gradient is a mean over the rows": step(dB="s * g.T @ narrow / len(x)"),
        "x's gradient through W alone": step(dx="g @ W"),
        "x's gradient through the path alone": step(dx="s * back @ A"),
        "no scale in x's gradient": step(dx="g @ W + back @ A"),
        "scale squared": step(dA="s * s * back.T @ x"),
        "the gradients in another order": step(dA="s * g.T @ narrow", dB="s * back.T @ x"),
        "a gradient for W, too": step(dx="g @ W + s * back @ A, g.T @ x"),
        "y changed in place of x": step(
            y="x.mul_(1.0) @ W.T + s * narrow @ B.T", dx="x.add_(1.0) * 0 + g @ W"
        ),
        "by autograd": AUTOGRAD.format(way="y.backward(g)", found="A.grad, B.grad, x.grad"),
        "by torch.autograd.grad": AUTOGRAD.format(
            way="found = torch.autograd.grad(y, (A, B, x), g)", found="found[0], found[1], found[2]"
        ),
        "zeros": step(dA="torch.zeros_like(A)", dB="torch.zeros_like(B)"),
        "asks the nodes of autograd's graph": """def lora_step(x, W, A, B, alpha, g):
    x, A, B = (t.clone().requires_grad_() for t in (x, A, B))
    with torch.enable_grad():
        n = x @ A.T
    s = alpha / len(A)
    def back(node, grad):
        return node(grad)
    with torch.enable_grad():
        y1 = x @ W.T; y2 = n @ B.T; y = y1 + s * y2
    gn, gBt = y2.grad_fn(s * g)
    gx2, gAt = n.grad_fn(gn)
    gx1 = y1.grad_fn(g)[0]
    return y.detach(), gAt.T, gBt.T, gx1 + gx2""",
        "an engine of autograd of its own": """def lora_step(x, W, A, B, alpha, g):
    x, A, B = (t.clone().requires_grad_() for t in (x, A, B))
    with torch.enable_grad():
        y = x @ W.T + alpha / len(A) * (x @ A.T @ B.T)
    E = torch._C._ImperativeEngine()
    a, b, c = E.run_backward((y,), (g,), False, False, (A, B, x), False, accumulate_grad=False)
    return y.detach(), a, b, c""",
    },
    "05-4-c": {
        "the smallest directions": best("V[-r:]", "U[:, -r:] * S[-r:]"),
        "without the singular values": best(B="U[:, :r]"),
        "the values twice": best("V[:r] * S[:r, None]"),
        "A and B exchanged": best("U[:, :r] * S[:r]", "V[:r]"),
        "V not transposed": "def best_adapter(D, r):\n    U, S, V = torch.linalg.svd(D, full_matrices=False)\n"
        "    return V.T[:r], U[:, :r] * S[:r]",
        "the first rows of D": "def best_adapter(D, r):\n    B = torch.zeros(len(D), r)\n"
        "    B[:r, :r] = torch.eye(r)\n    return D[:r], B",
        "one direction only": best("V[:1].repeat(r, 1)", "U[:, :1].repeat(1, r) * S[0] / r"),
        "full rank": best("V", "U * S"),
        "random": "def best_adapter(D, r):\n    return torch.randn(r, D.shape[1]), torch.zeros(len(D), r)",
        "D is spoiled": "def best_adapter(D, r):\n    U, S, V = torch.linalg.svd(D, full_matrices=False)\n"
        "    D -= 1\n    return V[:r], U[:, :r] * S[:r]",
        "r is always 1": best("V[:1]", "U[:, :1] * S[:1]"),
        "the product": "def best_adapter(D, r):\n    return D",
    },
    "05-4-d": {
        "two different directions in A": chosen(
            narrow="([[1, 2, 3, 4], [4, 3, 2, 1]], [[0, 0], [0, 0], [0, 0]])"
        ),
        "the rows of A are only parallel": chosen(
            narrow="([[1, 2, 3, 4], [2, 4, 6, 8]], [[0, 0], [0, 0], [0, 0]])"
        ),
        "narrow has r = 1": chosen(narrow="([[1, 2, 3, 4]], [[0], [0], [0]])"),
        "narrow is stuck": chosen(narrow="([[0] * 4, [0] * 4], [[0, 0], [0, 0], [0, 0]])"),
        "equal rows of A, different columns of B": chosen(
            narrow="([[1, 2, 3, 4]] * 2, [[1, 0], [0, 1], [1, 1]])"
        ),
        "equal columns of B, different rows of A": chosen(
            narrow="([[1, 0, 0, 0], [0, 1, 0, 0]], [[1, 1]] * 3)"
        ),
        "narrow has rank 1 at first": chosen(
            narrow="([[1, 2, 3, 4], [0, 0, 0, 0]], [[1, 1], [2, 1], [3, 1]])"
        ),
        "no narrow": chosen().replace("narrow", "thin") + "\nnarrow = None",
        "B is zero, A is not, as at the start of every adapter": chosen(
            stuck="([[1, 0, 0, 0]], [[0], [0], [0]])"
        ),
        "A is zero, B is not": chosen(stuck="([[0, 0, 0, 0]], [[1], [0], [0]])"),
        "a product of zero is not enough": chosen(stuck=CHOSEN["slow"]),
        "the wrong shapes": chosen(stuck="([[0, 0, 0]], [[0], [0], [0], [0]])"),
        "ranks that do not fit": chosen(slow="([[1, 0, 0, 0]], [[0, 1], [0, 1], [0, 1]])"),
        "slow is stuck": chosen(slow=CHOSEN["stuck"]),
        "slow with B zero": chosen(slow="([[1, 0, 0, 0]], [[0], [0], [0]])"),
        "slow with a product that is not zero": chosen(slow="([[1, 0, 0, 0]], [[0], [1], [0]])"),
        "slow with a product that is only small": chosen(slow="([[1e-4, 0, 0, 0]], [[1e-4], [0], [0]])"),
        "rows of different lengths": chosen(slow="([[1, 0, 0, 0], [0]], [[0, 1], [0, 1], [0, 1]])"),
        "a not-a-number": chosen(stuck="([[float('nan')] * 4], [[0], [0], [0]])"),
        "alpha makes them the same": chosen(agree='"b"'),
        "they are never the same": chosen(agree='"c"'),
        "sharing is only slower": chosen(shared='"a"'),
        "sharing raises an error": chosen(shared='"c"'),
        "nothing is lost": chosen(rounded='"a"'),
        "the codes grow": chosen(rounded='"c"'),
        "no letter": chosen(rounded="2"),
    },
}
