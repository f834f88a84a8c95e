"""Plausible wrong answers to the exercises of lesson 08_3."""

TRIPS = """def trips(rows, width, size, fused):
    tensor, bias = rows * width * size, width * size
    return (1, {fused}) if fused else ({launches}, {unfused})"""
COUNTED = {"fused": "3 * tensor + bias", "launches": "3", "unfused": "7 * tensor + bias"}

KERNEL = """@triton.jit
def bias_gelu_kernel(x_ptr, bias_ptr, y_ptr, width, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    mask = {mask}
    x = tl.load(x_ptr + row * width + column, mask=mask){wide}
    s = x + tl.load(bias_ptr + {bias}, mask=mask){wide}
    y = {gelu}
    tl.store({out}, y{stored})


def bias_gelu(x, bias):
    y = {new}
    rows, width = x.shape
    {launch}
    return y"""
FINE = {
    "mask": "column < width",
    "wide": ".to(tl.float32)",
    "bias": "column",
    "gelu": "0.5 * s * (1 + tl.erf(s * 0.7071067811865476))",
    "out": "y_ptr + row * width + column",
    "stored": ", mask=mask",
    "new": "torch.empty_like(x)",
    "launch": "bias_gelu_kernel[(rows,)](x, bias, y, width, BLOCK=triton.next_power_of_2(width))",
}

LOSS = """def loss_and_gradient(logits, targets, smoothing=0.0):
    counted = targets != -100
    log_p = {log_p}
    wanted = torch.full_like(logits, {spread})
    wanted[counted, targets[counted]] += {peak}
    loss = -(wanted * log_p).sum(-1){rows}
    gradient = (log_p.exp() - wanted){mask} / {count}
    return loss, gradient"""
RIGHT = {
    "log_p": "logits - torch.logsumexp(logits, dim=-1, keepdim=True)",
    "spread": "smoothing / logits.shape[-1]",
    "peak": "1 - smoothing",
    "rows": "[counted].mean()",
    "mask": " * counted[:, None]",
    "count": "counted.sum()",
}

WRONG = {
    "08-3-a": {
        "forgets what is written": TRIPS.format(
            **COUNTED | {"fused": "2 * tensor + bias", "unfused": "4 * tensor + bias"}
        ),
        "reads the bias as a whole tensor": TRIPS.format(
            **COUNTED | {"fused": "4 * tensor", "unfused": "8 * tensor"}
        ),
        "forgets the bias": TRIPS.format(**COUNTED | {"fused": "3 * tensor", "unfused": "7 * tensor"}),
        "forgets that the residual is read": TRIPS.format(
            **COUNTED | {"fused": "2 * tensor + bias", "unfused": "6 * tensor + bias"}
        ),
        "writes between the steps when fused": TRIPS.format(**COUNTED | {"fused": "5 * tensor + bias"}),
        "one launch for bias and GELU": TRIPS.format(
            **COUNTED | {"launches": "2", "unfused": "5 * tensor + bias"}
        ),
        "counts numbers instead of bytes": TRIPS.format(**COUNTED).replace("* size", "* 2"),
    },
    "08-3-b": {
        "forgets the mask of the store": KERNEL.format(**FINE | {"stored": ""}),
        "masks the rows instead of the columns": KERNEL.format(**FINE | {"mask": "row + column < width"}),
        "a mask one place too wide": KERNEL.format(**FINE | {"mask": "column <= width"}),
        "no mask at all": KERNEL.format(**FINE | {"mask": "column < BLOCK"}),
        "loads x without a mask": KERNEL.format(**FINE).replace("+ column, mask=mask)", "+ column)", 1),
        "loads the bias without a mask": KERNEL.format(**FINE).replace(
            "bias_ptr + column, mask=mask", "bias_ptr + column"
        ),
        "bias by row": KERNEL.format(**FINE | {"bias": "row + 0 * column"}),
        "bias by place in memory": KERNEL.format(**FINE | {"bias": "row * width + column"}),
        "tanh form of GELU": KERNEL.format(
            **FINE | {"gelu": "s * tl.sigmoid(1.5957691216057308 * (s + 0.044715 * s * s * s))"}
        ),
        "sigmoid form of GELU": KERNEL.format(**FINE | {"gelu": "s * tl.sigmoid(1.702 * s)"}),
        "forgets to divide by the root of two": KERNEL.format(
            **FINE | {"gelu": "0.5 * s * (1 + tl.erf(s))"}
        ),
        "adds in float16": KERNEL.format(
            **FINE
            | {
                "wide": "",
                "gelu": "0.5 * s.to(tl.float32) * (1 + tl.erf(s.to(tl.float32) * 0.7071067811865476))",
            }
        ),
        "a block of 64 for every width": KERNEL.format(
            **FINE | {"launch": "bias_gelu_kernel[(rows,)](x, bias, y, width, BLOCK=64)"}
        ),
        "a block of 1,024 for every width": KERNEL.format(
            **FINE | {"launch": "bias_gelu_kernel[(rows,)](x, bias, y, width, BLOCK=1024)"}
        ),
        "a block of 16,384 for every width": KERNEL.format(
            **FINE | {"launch": "bias_gelu_kernel[(rows,)](x, bias, y, width, BLOCK=16384)"}
        ),
        "a program for every column": KERNEL.format(
            **FINE
            | {"launch": "bias_gelu_kernel[(width,)](x, bias, y, width, BLOCK=triton.next_power_of_2(width))"}
        ),
        "one program only": KERNEL.format(
            **FINE
            | {"launch": "bias_gelu_kernel[(1,)](x, bias, y, width, BLOCK=triton.next_power_of_2(width))"}
        ),
        "in place": KERNEL.format(**FINE | {"new": "x"}),
        "always float32": KERNEL.format(**FINE | {"new": "torch.empty(x.shape)"}),
        "torch does it": KERNEL.format(**FINE | {"launch": "y = torch.nn.functional.gelu(x + bias)"}),
        "torch adds the bias": KERNEL.format(
            **FINE
            | {
                "launch": "bias_gelu_kernel[(rows,)](x + bias, torch.zeros_like(bias), y, width, "
                "BLOCK=triton.next_power_of_2(width))"
            }
        ),
        "a launch for every row": KERNEL.format(
            **FINE
            | {
                "launch": "for r in range(rows):\n"
                "        bias_gelu_kernel[(1,)](x[r], bias, y[r], width, BLOCK=triton.next_power_of_2(width))"
            }
        ),
    },
    "08-3-c": {
        "forgets the mean in the gradient": LOSS.format(**RIGHT | {"count": "1"}),
        "divides by all rows": LOSS.format(**RIGHT | {"count": "len(targets)"}),
        "ignored rows push the loss": LOSS.format(**RIGHT | {"rows": ".mean()"}),
        "ignored rows have a gradient": LOSS.format(**RIGHT | {"mask": ""}),
        "smoothing leaves the target out": LOSS.format(**RIGHT | {"spread": "smoothing / (logits.shape[-1] - 1)"}),
        "smoothing takes nothing from the target": LOSS.format(**RIGHT | {"peak": "1.0"}),
        "no smoothing": LOSS.format(**RIGHT | {"spread": "0.0", "peak": "1.0"}),
        "overflows": LOSS.format(**RIGHT | {"log_p": "logits - torch.log(torch.exp(logits).sum(-1, keepdim=True))"}),
        "only the gradient overflows": LOSS.format(**RIGHT).replace(
            "log_p.exp()", "logits.exp() / logits.exp().sum(-1, keepdim=True)"
        ),
        "torch's loss by another name": LOSS.format(**RIGHT).replace(
            "    return loss",
            "    from torch.nn.functional import cross_entropy as ready\n"
            "    loss = ready(logits, targets, label_smoothing=smoothing)\n"
            "    return loss",
        ),
        "torch's gradient by another name": LOSS.format(**RIGHT)
        .replace("    counted =", "    logits = logits.clone().requires_grad_()\n    counted =", 1)
        .replace(
            "    return loss, gradient",
            "    from torch.autograd import grad\n    return loss.detach(), grad(loss, logits)[0]",
        ),
        "softmax over the rows": LOSS.format(**RIGHT | {"log_p": "logits - torch.logsumexp(logits, dim=0)"}),
    },
    "08-3-d": {
        "matrices are never memory-bound": 'memory_bound = {"residual", "attention"}',
        "flash attention never is": 'memory_bound = {"residual", "batch"}',
        "only sums are": 'memory_bound = {"residual"}',
        "narrow weights are still memory-bound": 'memory_bound = {"residual", "batch", "batch8", "attention"}',
        "the other side of the ridge": 'memory_bound = {"batch8", "prompt"}',
        "everything waits for memory": 'memory_bound = {"residual", "batch", "batch8", "prompt", "attention"}',
    },
}  # fmt: skip
