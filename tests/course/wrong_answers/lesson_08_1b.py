"""Plausible wrong answers to the exercises of lesson 08_1b."""

KERNEL = """@triton.jit
def centered_kernel(x, y, N, x_row, x_column, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    mine = tl.arange(0, BLOCK)
    value = tl.load(x + row * {x_row} + mine * {x_column}, mask={load}, other={other})
    value = tl.maximum(value - {mean}, {floor})
    tl.store(y + row * {y_row} + mine, value, mask={store})


def centered_relu(x):
    y = {room}
    M, N = x.shape
    centered_kernel[({grid},)](x, y, N, x.stride(0), x.stride(1), BLOCK={block})
    return y"""
PARTS = {
    "x_row": "x_row",
    "x_column": "x_column",
    "load": "mine < N",
    "other": "0.0",
    "mean": "tl.sum(value, 0) / N",
    "floor": "0.0",
    "y_row": "N",
    "store": "mine < N",
    "room": "torch.empty(x.shape)",
    "grid": "M",
    "block": "triton.next_power_of_2(N)",
}

WRONG = {
    "08-1b-a": {
        "torch computes": "def centered_relu(x):\n    return torch.relu(x - x.mean(1, keepdim=True))",
        "torch copies first": KERNEL.format(**PARTS | {"room": "torch.empty(x.shape)"}).replace(
            "    M, N = x.shape", "    x = x.contiguous()\n    M, N = x.shape"
        ),
        "torch finishes": KERNEL.format(**PARTS | {"floor": "value - tl.sum(value, 0) / N"}).replace(
            "return y", "return torch.relu(y)"
        ),
        "the mean over the block": KERNEL.format(**PARTS | {"mean": "tl.sum(value, 0) / BLOCK"}),
        "no load mask": KERNEL.format(**PARTS | {"load": "mine >= 0"}),
        "no store mask": KERNEL.format(**PARTS | {"store": "mine >= 0"}),
        "ones beyond the end": KERNEL.format(**PARTS | {"other": "1.0"}),
        "rows lie one behind the other": KERNEL.format(**PARTS | {"x_row": "N"}),
        "columns lie side by side": KERNEL.format(**PARTS | {"x_column": "1"}),
        "no relu": KERNEL.format(**PARTS | {"floor": "value - tl.sum(value, 0) / N"}),
        "one program too few": KERNEL.format(**PARTS | {"grid": "max(M - 1, 1)"}),
        "blocks of 128": KERNEL.format(**PARTS | {"block": "128"}),
        "writes into x": KERNEL.format(**PARTS | {"room": "x"}),
        "numpy computes": KERNEL.format(**PARTS)
        .replace(
            "    M, N = x.shape",
            "    import numpy as np\n\n    a = np.asarray(x)\n    a = np.maximum(a - a.mean(1, keepdims=True), 0)\n"
            "    M, N = x.shape",
        )
        .replace("    return y", "    return torch.from_numpy(a)"),
        "torch computes where it is not watched": KERNEL.format(
            **PARTS | {"mean": "0.0", "x_row": "N", "x_column": "1"}
        )
        .replace(
            "    M, N = x.shape",
            "    from torch.utils._python_dispatch import _disable_current_modes\n\n"
            "    with _disable_current_modes():\n        x = (x - x.mean(1, keepdim=True)).contiguous()\n"
            "    M, N = x.shape",
        )
        .replace("x.stride(0), x.stride(1)", "N, 1"),
        "a list is computed": KERNEL.format(**PARTS).replace(
            "    M, N = x.shape", "    x.tolist()\n    M, N = x.shape"
        ),
        "two launches": KERNEL.format(**PARTS)
        + "\n\n\nonce = centered_relu\n\n\ndef centered_relu(x):\n    once(x)\n    return once(x)",
    },
    "08-1b-b": {
        "zeros are not harmless": "rows = [0.0] * 5, [-10.0] * 5",
        "the other way round": "rows = [-10.0] * 5, [30.0] * 5",
        "small scores are not enough": "rows = [30.0] * 5, [-1.0] * 5",
        "no padding at all": "rows = [0.0] * 8, [-10.0] * 5",
        "infinite": "rows = [30.0] * 5, [-float('inf')] * 5",
        "beyond the limits": "rows = [30.0] * 5, [-1000.0] * 5",
        "one row": "rows = [30.0, 30.0, 30.0, 30.0, 30.0]",
    },
    "08-1b-c": {
        "rows of six": "place = 7 * 6 + 2",
        "as if x were not transposed": "place = 7 * 10 + 2",
        "rows of six, x not transposed": "place = 2 * 6 + 7",
        "no number": "place = '27'",
    },
}
