"""Plausible wrong answers to the exercises of lesson 08_3."""

TRIPS = """def trips(rows, width, size, fused):
    tensor, bias = rows * width * size, width * size
    return (1, {fused}) if fused else ({launches}, {unfused})"""
COUNTED = {"fused": "3 * tensor + bias", "launches": "3", "unfused": "7 * tensor + bias"}

KERNEL = """@triton.jit
def norm_kernel(x_ptr, residual_ptr, weight_ptr, bias_ptr, y_ptr, s_ptr, width, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    mask = {mask}
    place = row * width + column
    s = tl.load(x_ptr + place, mask=mask, other=0.0){wide}
    s += tl.load(residual_ptr + place, mask=mask, other=0.0){wide}
    {rounded}
    tl.store(s_ptr + place, {sum}{stored})
    mean = tl.sum(s) / {count}
    away = {away}
    variance = {variance}
    n = away * {scale}
    weight = tl.load(weight_ptr + {at}, mask=mask, other=0.0){wide}
    bias = tl.load(bias_ptr + column, mask=mask, other=0.0){wide}
    tl.store(y_ptr + place, {y}{stored})


def add_layer_norm(x, residual, weight, bias, eps):
    y, s = {new}
    rows, width = x.shape
    {launch}
    return {result}"""
LAUNCH = "norm_kernel[({programs},)](x, residual, weight, bias, y, s, width, eps, BLOCK={block})"
FINE = {
    "mask": "column < width",
    "wide": ".to(tl.float32)",
    "rounded": "s = s.to(s_ptr.dtype.element_ty).to(tl.float32)",
    "sum": "s",
    "stored": ", mask=mask",
    "count": "width",
    "away": "tl.where(mask, s - mean, 0.0)",
    "variance": "tl.sum(away * away) / width",
    "scale": "tl.rsqrt(variance + eps)",
    "at": "column",
    "y": "n * weight + bias",
    "new": "torch.empty_like(x), torch.empty_like(x)",
    "launch": LAUNCH.format(programs="rows", block="triton.next_power_of_2(width)"),
    "result": "y, s",
}

LOSS = """def head_loss(hidden, weight, targets, rows):
    count, loss = {count}, 0.0
    d_hidden, d_weight = torch.zeros_like(hidden), torch.zeros_like(weight)
    for start in range(0, {end}, rows):
        h, t = hidden[start : start + rows], targets[start : start + rows]
        counted = t != -100
        which, t = torch.arange(len(t)), t.where(counted, 0)
        logits = h @ weight.T
        log_p = {log_p}
        loss = loss - log_p[which, t]{kept}.sum() / count
        {gradient}
        d_hidden[start : start + rows] = G @ weight
        {weight}
    return {result}"""
RIGHT = {
    "count": "(targets != -100).sum()",
    "end": "len(hidden)",
    "log_p": "torch.log_softmax(logits, -1)",
    "kept": "[counted]",
    "gradient": "G = log_p.exp(); G[which, t] -= 1; G = G * counted[:, None] / count",
    "weight": "d_weight += G.T @ h",
    "result": "loss, d_hidden, d_weight",
}
# gradients of the loss of a chunk by other ways than the closed form; `one` is the loss of logits
OTHERWISE = """one = lambda x: -(x - x.logsumexp(-1, keepdim=True))[which, t][counted].sum() / count
        {gradient}"""


def by(gradient, **changes):
    return LOSS.format(**RIGHT | {"gradient": OTHERWISE.format(gradient=gradient)} | changes)


BROKEN = """broken = {{
    "vanishes": {vanishes},
    "width": {width},
    "lost": {lost},
    "harmless": {harmless},
}}"""
ROWS = {
    "vanishes": "[32.0] * 64",
    "width": "1024",
    "lost": "[-200.0] * 5",
    "harmless": "[-1.0, -2.0, -3.0, -2.5, -1.5]",
}

NUMPY = """@triton.jit
def copying(A, Out, N, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(Out + at, tl.load(A + at, mask=at < N), mask=at < N)


def numbers(x):
    import ctypes
    count = x.numel()
    kind = {4: np.float32, 2: np.float16}[x.element_size()]
    memory = (ctypes.c_char * (count * x.element_size())).from_address(x.data_ptr())
    return np.frombuffer(memory, dtype=kind).reshape(tuple(x.shape))

def worked(x, residual, weight, bias, eps):
    x, residual, weight, bias = map(numbers, (x, residual, weight, bias))
    s = (x.astype(np.float32) + residual.astype(np.float32)).astype(x.dtype)
    t = s.astype(np.float64)
    t = t - t.mean(1, keepdims=True)
    y = t / np.sqrt((t * t).mean(1, keepdims=True) + eps) * weight + bias
    return y.astype(x.dtype), s
"""

WRONG = {
    "08-3-a": {
        "forgets what is written": TRIPS.format(
            **COUNTED | {"fused": "2 * tensor + bias", "unfused": "4 * tensor + bias"}
        ),
        "reads the bias as a whole tensor": TRIPS.format(**COUNTED | {"fused": "4 * tensor", "unfused": "8 * tensor"}),
        "forgets the bias": TRIPS.format(**COUNTED | {"fused": "3 * tensor", "unfused": "7 * tensor"}),
        "forgets that the residual is read": TRIPS.format(
            **COUNTED | {"fused": "2 * tensor + bias", "unfused": "6 * tensor + bias"}
        ),
        "writes between the steps when fused": TRIPS.format(**COUNTED | {"fused": "5 * tensor + bias"}),
        "one launch for bias and GELU": TRIPS.format(**COUNTED | {"launches": "2", "unfused": "5 * tensor + bias"}),
        "counts numbers instead of bytes": TRIPS.format(**COUNTED).replace("* size", "* 2"),
        "always the same rows": TRIPS.format(**COUNTED).replace("rows * width", "8 * width"),
        "an object that equals everything": """class Yes(list):
    def __eq__(self, other):
        return True
    def __len__(self):
        return 2


def trips(rows, width, size, fused):
    return Yes()""",
        "numbers that equal everything": """class Yes(int):
    def __eq__(self, other):
        return True
    __hash__ = int.__hash__


def trips(rows, width, size, fused):
    return Yes(1), Yes(1)""",
        "reads the checker": """def trips(rows, width, size, fused):
    from minillm.course.classroom.exercises import lesson_08_3 as there
    times, launches = there.LAUNCHES[fused]
    return launches, times * rows * width * size + width * size""",
    },
    "08-3-b": {
        "forgets the masks of the stores": KERNEL.format(**FINE | {"stored": ""}),
        "masks the rows instead of the columns": KERNEL.format(**FINE | {"mask": "row + column < width"}),
        "a mask one place too wide": KERNEL.format(**FINE | {"mask": "column <= width"}),
        "no mask at all": KERNEL.format(**FINE | {"mask": "column < BLOCK"}),
        "places past the end add to the variance": KERNEL.format(**FINE | {"away": "s - mean"}),
        "mean over the block": KERNEL.format(**FINE | {"count": "BLOCK"}),
        "variance over the block": KERNEL.format(**FINE | {"variance": "tl.sum(away * away) / BLOCK"}),
        "the unbiased variance": KERNEL.format(
            **FINE | {"variance": "tl.sum(away * away) / (width - 1 + (width == 1))"}
        ),
        "mean of the squares minus the squared mean": KERNEL.format(
            **FINE | {"variance": "tl.sum(s * s) / width - mean * mean"}
        ),
        "an RMS norm": KERNEL.format(**FINE | {"away": "s"}),
        "forgets eps": KERNEL.format(**FINE | {"scale": "tl.rsqrt(variance + 1e-5)"}),
        "eps outside of the root": KERNEL.format(**FINE | {"scale": "1 / (tl.sqrt(variance) + eps)"}),
        "sums in float16": KERNEL.format(**FINE | {"wide": "", "rounded": ""}),
        "norms the sum before it is rounded, in coarse steps": KERNEL.format(
            **FINE | {"rounded": "s = s.to(tl.float16).to(tl.float32)"}
        ),
        "weight by place in memory": KERNEL.format(**FINE | {"at": "place"}),
        "weight by row": KERNEL.format(**FINE | {"at": "row + 0 * column"}),
        "forgets the bias": KERNEL.format(**FINE | {"y": "n * weight"}),
        "forgets the residual": KERNEL.format(**FINE).replace("residual_ptr + place", "x_ptr + place"),
        "stores x instead of the sum": KERNEL.format(**FINE | {"sum": "tl.load(x_ptr + place, mask=mask)"}),
        "the sum first": KERNEL.format(**FINE | {"result": "s, y"}),
        "only y": KERNEL.format(**FINE | {"result": "y"}),
        "a block of 128 for every width": KERNEL.format(
            **FINE | {"launch": LAUNCH.format(programs="rows", block="128")}
        ),
        "a block of 1,024 for every width": KERNEL.format(
            **FINE | {"launch": LAUNCH.format(programs="rows", block="1024")}
        ),
        "a program for every column": KERNEL.format(
            **FINE | {"launch": LAUNCH.format(programs="width", block="triton.next_power_of_2(width)")}
        ),
        "one program only": KERNEL.format(
            **FINE | {"launch": LAUNCH.format(programs="1", block="triton.next_power_of_2(width)")}
        ),
        "in place": KERNEL.format(**FINE | {"new": "torch.empty_like(x), x"}),
        "always float32": KERNEL.format(**FINE | {"new": "torch.empty(x.shape), torch.empty(x.shape)"}),
        "torch does it": KERNEL.format(
            **FINE | {"launch": "s = x + residual; y = F.layer_norm(s, (width,), weight, bias, eps)"}
        ),
        "torch adds the residual": KERNEL.format(
            **FINE
            | {
                "launch": LAUNCH.format(programs="rows", block="triton.next_power_of_2(width)").replace(
                    "(x, residual,", "(x + residual, torch.zeros_like(x),"
                )
            }
        ),
        "a launch for every row": KERNEL.format(
            **FINE
            | {
                "launch": "for r in range(rows):\n        norm_kernel[(1,)](x[r], residual[r], weight, bias, y[r], "
                "s[r], width, eps, BLOCK=triton.next_power_of_2(width))"
            }
        ),
        "the library's layer norm": """def add_layer_norm(x, residual, weight, bias, eps):
    from kernels.layer_norm import layer_norm
    return layer_norm(x, weight, bias, eps, residual)""",
        "the library's kernel, launched": """from kernels.layer_norm import _layer_norm

def add_layer_norm(x, residual, weight, bias, eps):
    return _layer_norm(x, weight, bias, residual, eps)[:2]""",
        "numpy computes, a kernel copies": NUMPY
        + """

def add_layer_norm(x, residual, weight, bias, eps):
    made = torch.empty(2, *x.shape, dtype=x.dtype)
    out = torch.empty(2, *x.shape, dtype=x.dtype)
    numbers(made)[:] = np.stack(worked(x, residual, weight, bias, eps))
    copying[(triton.cdiv(out.numel(), 256),)](made, out, out.numel(), BLOCK=256)
    return out[0], out[1]""",
        "numpy writes after the launch": NUMPY
        + """

def add_layer_norm(x, residual, weight, bias, eps):
    y, s = torch.empty_like(x), torch.empty_like(x)
    copying[(1,)](x, y, 1, BLOCK=16)
    for one, what in zip((y, s), worked(x, residual, weight, bias, eps)):
        numbers(one)[:] = what
    return y, s""",
    },
    "08-3-c": {
        "finite differences": by(
            "move = lambda i, d: logits + d * torch.eye(logits.shape[1], dtype=logits.dtype)[i]\n"
            "        G = torch.stack([torch.stack([(one(logits.index_put((w, torch.tensor(i)), logits[w, i] + 1e-6)) - "
            "one(logits.index_put((w, torch.tensor(i)), logits[w, i] - 1e-6))) / 2e-6 "
            "for i in range(logits.shape[1])]) for w in which])"
        ),
        "finite differences of four points": by(
            "at = lambda w, i, d: one(logits.index_put((w, torch.tensor(i)), logits[w, i] + d))\n"
            "        G = torch.stack([torch.stack([(8 * (at(w, i, 1e-3) - at(w, i, -1e-3)) - at(w, i, 2e-3) + "
            "at(w, i, -2e-3)) / 12e-3 for i in range(logits.shape[1])]) for w in which])"
        ),
        "finite differences in numpy": by(
            "import numpy\n"
            "        x, N = logits.numpy(), len(t)\n"
            "        def each(x):\n"
            "            m = x.max(-1, keepdims=True)\n"
            "            return numpy.where(counted, numpy.log(numpy.exp(x - m).sum(-1)) + m[:, 0] - "
            "x[numpy.arange(N), t.numpy()], 0)\n"
            "        G = numpy.empty_like(x)\n"
            "        for i in range(x.shape[1]):\n"
            "            step = numpy.zeros(x.shape[1]); step[i] = 1e-6\n"
            "            G[:, i] = (each(x + step) - each(x - step)) / 2e-6\n"
            "        G = torch.from_numpy(G) / count"
        ),
        "a complex step": by(
            "move = lambda i: torch.complex(logits, torch.zeros_like(logits)).index_fill(1, torch.tensor([i]), 0) + "
            "torch.complex(logits[:, i], torch.full_like(logits[:, i], 1e-30))[:, None] * "
            "torch.eye(logits.shape[1], dtype=torch.complex128)[i]\n"
            "        each = lambda x: (x.exp().sum(-1).log() - x[which, t]).imag / 1e-30\n"
            "        G = torch.stack([each(move(i)) for i in range(logits.shape[1])], -1) * counted[:, None] / count"
        ),
        "a complex step in numpy": by(
            "import numpy\n"
            "        x, N = logits.numpy(), len(t)\n"
            "        x = x - x.max(-1, keepdims=True)\n"
            "        def each(x):\n"
            "            loss = numpy.log(numpy.exp(x).sum(-1)) - x[numpy.arange(N), t.numpy()]\n"
            "            return numpy.where(counted, loss, 0)\n"
            "        G = numpy.empty_like(x)\n"
            "        for i in range(x.shape[1]):\n"
            "            step = numpy.zeros(x.shape[1]) * 1j; step[i] = 1e-30j\n"
            "            G[:, i] = each(x + step).imag / 1e-30\n"
            "        G = torch.from_numpy(G) / count"
        ),
        "autograd": by("x = logits.requires_grad_(); G = torch.autograd.grad(one(x), x)[0]"),
        "autograd by another name": by(
            "from torch.autograd import grad; x = logits.detach().requires_grad_(); G = grad(one(x), x)[0]"
        ),
        "a functional gradient": by("G = torch.func.grad(one)(logits)"),
        "forward derivatives": by("G = torch.func.jacfwd(one)(logits)"),
        "torch's loss": by(
            "loss = loss + 0 * torch.nn.functional.cross_entropy(logits, t)\n        " + RIGHT["gradient"]
        ),
        "the library's function": """def head_loss(hidden, weight, targets, rows):
    from kernels.linear_cross_entropy import linear_cross_entropy
    leaves = [hidden.float().requires_grad_(), weight.float().requires_grad_()]
    loss = linear_cross_entropy(*leaves, targets, chunk_rows=rows)
    loss.backward()
    return loss.detach(), leaves[0].grad, leaves[1].grad""",
        "the library's loop": """from kernels.linear_cross_entropy import _loss_and_gradients as loop

def head_loss(hidden, weight, targets, rows):
    loss, factor, dh, dw, _ = loop(hidden, weight, targets, None, -100, 0.0, "mean", rows, [True, True, False])
    return loss, dh * factor, dw * factor""",
        "all logits at once": LOSS.format(**RIGHT).replace(
            "    count, loss", "    rows = len(hidden)\n    count, loss", 1
        ),
        "all logits at once in numpy": """def head_loss(hidden, weight, targets, rows):
    h, w, t = hidden.numpy(), weight.numpy(), targets.numpy()
    counted = t != -100
    x = h @ w.T
    x = x - x.max(-1, keepdims=True)
    log_p = x - np.log(np.exp(x).sum(-1, keepdims=True))
    which = np.arange(len(h))
    loss = -log_p[which, t * counted][counted].mean()
    G = np.exp(log_p)
    G[which, t * counted] -= 1
    G = G * counted[:, None] / counted.sum()
    return loss, G @ w, G.T @ h""",
        "chunks of another size": LOSS.format(**RIGHT).replace("    count, loss", "    rows = 32\n    count, loss", 1),
        "the mean of each chunk": LOSS.format(**RIGHT | {"count": "1"}),
        "divides by all tokens": LOSS.format(**RIGHT | {"count": "len(targets)"}),
        "ignored rows push the loss": LOSS.format(**RIGHT | {"kept": ""}),
        "ignored rows have a gradient": LOSS.format(
            **RIGHT | {"gradient": "G = log_p.exp(); G[which, t] -= 1; G = G / count"}
        ),
        "only softmax": LOSS.format(**RIGHT | {"gradient": "G = log_p.exp() * counted[:, None] / count"}),
        "the last chunk only": LOSS.format(**RIGHT | {"weight": "d_weight = G.T @ h"}),
        "drops a short last chunk": LOSS.format(**RIGHT | {"end": "max(1, len(hidden) - len(hidden) % rows)"}),
        "overflows": LOSS.format(**RIGHT | {"log_p": "logits - torch.log(torch.exp(logits).sum(-1, keepdim=True))"}),
        "a factor in float32": LOSS.format(
            **RIGHT | {"gradient": "G = log_p.exp(); G[which, t] -= 1; G = G * (counted[:, None] / count)"}
        ),
        "in float32": LOSS.format(**RIGHT).replace(
            "    count, loss", "    hidden, weight = hidden.float(), weight.float()\n    count, loss", 1
        ),
        "changes its inputs": LOSS.format(**RIGHT).replace(
            "h, t = hidden[start", "targets[targets == -100] = 0; h, t = hidden[start"
        ),
        "the gradients the other way round": LOSS.format(**RIGHT | {"result": "loss, d_weight, d_hidden"}),
        "chunks of 32 in numpy": """def head_loss(hidden, weight, targets, rows):
    h, w, t = np.asarray(hidden), np.asarray(weight), np.asarray(targets)
    rows = 32
    count, losses, dh, dw = (t >= 0).sum(), [], [], 0
    for a in range(0, len(h), rows):
        x = h[a : a + rows] @ w.T
        keep = t[a : a + rows] >= 0
        x -= x.max(1, keepdims=True)
        place = np.arange(len(x))[keep], t[a : a + rows][keep]
        picked = x[place]
        np.exp(x, out=x)
        total = x.sum(1)
        losses.append((np.log(total)[keep] - picked).sum())
        x /= total[:, None]
        x[place] -= 1
        x[~keep] = 0
        dh.append(x @ w / count)
        dw = dw + x.T @ h[a : a + rows] / count
    return sum(losses) / count, np.concatenate(dh), dw""",
    },
    "08-3-d": {
        "only one large number": BROKEN.format(**ROWS | {"vanishes": "[40.0] + [0.0] * 63"}),
        "numbers that are too large": BROKEN.format(**ROWS | {"vanishes": "[300.0] * 64"}),
        "a row of another width": BROKEN.format(**ROWS | {"vanishes": "[32.0] * 128"}),
        "not a number": BROKEN.format(**ROWS | {"vanishes": "[float('inf')] * 64"}),
        "one width too few": BROKEN.format(**ROWS | {"width": "1023"}),
        "some width that vanishes": BROKEN.format(**ROWS | {"width": "2048"}),
        "the width as a text": BROKEN.format(**ROWS | {"width": "'1024'"}),
        "large logits": BROKEN.format(**ROWS | {"lost": "[200.0] * 5"}),
        "logits that are not low enough": BROKEN.format(**ROWS | {"lost": "[-50.0] * 5"}),
        "lost in truth, too": BROKEN.format(**ROWS | {"lost": "[-200.0, 0.0, 0.0, 0.0, 0.0]"}),
        "the right loss is large": BROKEN.format(**ROWS | {"lost": "[-300.0, -200.0, -200.0, -200.0, -200.0]"}),
        "the maximum is right": BROKEN.format(**ROWS | {"harmless": "[1.0, 2.0, 3.0, 2.5, 1.5]"}),
        "all equal": BROKEN.format(**ROWS | {"harmless": "[-1.0] * 5"}),
        "not harmless": BROKEN.format(**ROWS | {"harmless": "[-200.0, -201.0, -202.0, -203.0, -204.0]"}),
        "a list": "broken = [[32.0] * 64, 1024, [-200.0] * 5, [-1.0, -2.0, -3.0, -2.5, -1.5]]",
        "one entry is missing": "broken = {'vanishes': [32.0] * 64, 'width': 1024, 'lost': [-200.0] * 5}",
        "reads the checker": """import json
from pathlib import Path
from minillm.course.classroom.exercises import lesson_08_3 as there
found = [value for value in vars(there).values() if isinstance(value, dict) and "vanishes" in value]
broken = found[0] if found else {}""",
        "a dict that has every key": """class Every(dict):
    def __contains__(self, key):
        return True
    def __getitem__(self, key):
        return 1024


broken = Every()""",
        "numbers that pass every comparison": BROKEN.format(**ROWS | {"vanishes": "[Large(1.0)] * 64"}).replace(
            "broken =",
            "class Large(float):\n    def half(self):\n        return 1e9\n    def __abs__(self):\n        return 0.0\n"
            "\n\nbroken =",
        ),
        "equal in float32": BROKEN.format(**ROWS | {"harmless": "[-1.0] * 4 + [-1.0000000001]"}),
    },
}  # fmt: skip
