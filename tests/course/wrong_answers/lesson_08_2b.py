"""Plausible wrong answers to the exercises of lesson 08_2b."""

WINDOW = """@triton.jit
def window_kernel(Q, K, V, Out, T, left, D: tl.constexpr, BLOCK: tl.constexpr):
    tile = tl.program_id(0)
    rows = tile * BLOCK + tl.arange(0, BLOCK)[:, None]
    across = tl.arange(0, D)[None, :]
    q = tl.load(Q + rows * D + across, mask={load}, other=0.0)
    m = tl.full([BLOCK, 1], float("-inf"), tl.float32)
    l = tl.zeros([BLOCK, 1], tl.float32)
    o = tl.zeros([BLOCK, D], tl.float32)
    first = {first}
    for start in range(first, {end}, BLOCK):
        keys = start + tl.arange(0, BLOCK)[:, None]
        k = tl.load(K + keys * D + across, mask=keys < T, other=0.0)
        v = tl.load(V + keys * D + across, mask=keys < T, other=0.0)
        scores = {scale} * tl.dot(q, tl.trans(k), input_precision="ieee")
        behind = rows - tl.trans(keys)
        scores = tl.where({seen}, scores, float("-inf"))
        top = tl.maximum(m, tl.max(scores, 1, keep_dims=True))
        finite = {finite}
        shrink, shares = tl.exp({shrink}), tl.exp(scores - finite)
        l = {l} + tl.sum(shares, 1, keep_dims=True)
        o = {o} + tl.dot(shares, v, input_precision="ieee")
        m = top
    tl.store(Out + rows * D + across, {out}, mask={store})


def window_attention(q, k, v, left, block):
    out = torch.empty_like(q)
    T, D = q.shape
    window_kernel[({grid},)](q, k, v, out, T, left, D=D, BLOCK={block})
    return out"""
PARTS = {
    "load": "rows < T",
    "first": "tl.maximum(tile * BLOCK - left, 0) // BLOCK * BLOCK",
    "end": "(tile + 1) * BLOCK",
    "scale": "D**-0.5",
    "seen": "(behind >= 0) & (behind <= left)",
    "finite": "tl.where(top == float('-inf'), 0.0, top)",
    "shrink": "m - finite",
    "l": "l * shrink",
    "o": "o * shrink",
    "out": "o / tl.where(l == 0, 1.0, l)",
    "store": "rows < T",
    "grid": "triton.cdiv(T, block)",
    "block": "block",
}

KEPT = """def kept(T, heads, kv_heads, D, width=2):
    qkv = {qkv}
    plain = qkv + {weights}
    flash = qkv + {out} + {lse}
    return plain, flash"""
KEEPS = {
    "qkv": "(heads + 2 * kv_heads) * T * D * width",
    "weights": "heads * T * T * width",
    "out": "heads * T * D * width",
    "lse": "heads * T * 4",
}


def window(**changes: str) -> str:
    return WINDOW.format(**PARTS | changes)


NUMPY = """import numpy as np
@triton.jit
def copying(A, Out, N, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(Out + at, tl.load(A + at, mask=at < N), mask=at < N)


def numbers(x):
    import ctypes
    count = x.numel()
    memory = (ctypes.c_char * (4 * count)).from_address(x.data_ptr())
    return np.frombuffer(memory, dtype=np.float32).reshape(tuple(x.shape))

def worked(q, k, v, left):
    q, k, v = (numbers(x).astype(np.float64) for x in (q, k, v))
    d = np.arange(len(q))[:, None] - np.arange(len(q))
    s = np.where((d >= 0) & (d <= left), q @ np.nan_to_num(k).T / q.shape[1]**0.5, -np.inf)
    p = np.exp(s - s.max(1, keepdims=True))
    return (p / p.sum(1, keepdims=True) @ np.nan_to_num(v)).astype(np.float32)


def window_attention(q, k, v, left, block):
    out, room, kept = torch.empty_like(q), torch.empty_like(q), numbers(q).copy()
    {before}
    copying[(triton.cdiv(q.numel(), 256),)]({what}, out, q.numel(), BLOCK=256)
    {after}
    return out"""
WORKED = "[:] = worked(q, k, v, left)"

TILED = """def tiled_gradients(q, k, v, out, lse, upstream, block):
    dq, dk, dv = {room}
    scale, delta = q.shape[1] ** -0.5, {delta}
    for i in range(0, {end}, block):
        rows = slice(i, i + block)
        for j in range(0, {reach}, block):
            columns = slice(j, j + block)
            scores = {scores}
            if {edge}:
                scores = scores.masked_fill({hidden}, -torch.inf)
            p = {p}
            ds = {ds}
            dq[rows] {add} {dq}
            dk[columns] {add} {dk}
            dv[columns] {add} {dv}
    return {result}"""
TILE = {
    "room": "(torch.zeros_like(x) for x in (q, k, v))",
    "delta": "(out * upstream).sum(1)",
    "end": "len(q)",
    "reach": "i + 1",
    "scores": "scale * q[rows] @ k[columns].T",
    "edge": "j == i",
    "hidden": "torch.ones_like(scores).triu(1) == 1",
    "p": "torch.exp(scores - lse[rows, None])",
    "ds": "p * (upstream[rows] @ v[columns].T - delta[rows, None])",
    "add": "+=",
    "dq": "scale * ds @ k[columns]",
    "dk": "scale * ds.T @ q[rows]",
    "dv": "p.T @ upstream[rows]",
    "result": "dq, dk, dv",
}


def tiled(**changes: str) -> str:
    return TILED.format(**TILE | changes)


WHOLE = """def tiled_gradients(q, k, v, out, lse, upstream, block):
    {before}
    later = {ones}
    p = {exp}
    p[later] = 0
    ds = p * (upstream @ v.T - (out * upstream).sum(1)[:, None])
    return {scale} * ds @ k, {scale} * ds.T @ q, p.T @ upstream"""
GRAD = """def tiled_gradients(q, k, v, out, lse, upstream, block):
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    y = {attention}
    {how}"""
SDPA = "torch.nn.functional.scaled_dot_product_attention(*(x[None] for x in leaves), is_causal=True)[0]"

WRONG = {
    "08-2b-a": {
        "no window": window(first="0", seen="behind >= 0"),
        "loads every tile": window(first="0"),
        "begins at the last query's window": window(
            first="tl.maximum((tile + 1) * BLOCK - 1 - left, 0) // BLOCK * BLOCK"
        ),
        "begins a tile too late": window(
            first="tl.minimum(tl.maximum(tile * BLOCK - left, 0) // BLOCK * BLOCK + BLOCK, tile * BLOCK)"
        ),
        "NaN where nothing is seen yet": window(finite="top"),
        "counts itself in the window": window(seen="(behind >= 0) & (behind < left)"),
        "a window one too wide": window(
            first="tl.maximum(tile * BLOCK - left - 1, 0) // BLOCK * BLOCK",
            seen="(behind >= 0) & (behind <= left + 1)",
        ),
        "not causal": window(seen="behind <= left", end="T"),
        "the mask on one side": window(seen="behind >= 0"),
        "the old sum does not shrink": window(l="l"),
        "the old output does not shrink": window(o="o"),
        "no scale": window(scale="1.0"),
        "forgets to divide": window(out="o"),
        "no load mask": window(load="rows >= 0"),
        "no store mask": window(store="rows >= 0"),
        "a block of its own": window(block="64", grid="triton.cdiv(T, 64)"),
        "one program": window(grid="1"),
        "torch computes": """def window_attention(q, k, v, left, block):
    behind = torch.arange(len(q))[:, None] - torch.arange(len(q))
    scores = (q @ k.T / q.shape[1] ** 0.5).masked_fill((behind < 0) | (behind > left), -torch.inf)
    return scores.softmax(-1) @ v""",
        "the library computes": """from kernels.flash_attention import flash_attention


def window_attention(q, k, v, left, block):
    return flash_attention(q[None, None], k[None, None], v[None, None], True, window=(left, 0))[0, 0]""",
        "the causal kernel": """def window_attention(q, k, v, left, block):
    out = torch.empty_like(q)
    causal_kernel[(triton.cdiv(len(q), block),)](q, k, v, out, len(q), D=q.shape[1], BLOCK=block)
    return out""",
        "numpy computes, a kernel copies": NUMPY.format(
            before="numbers(room)" + WORKED, what="room", after=""
        ),
        "numpy writes after the launch": NUMPY.format(before="", what="q", after="numbers(out)" + WORKED),
        "numpy writes over q, and back": NUMPY.format(
            before="numbers(q)" + WORKED, what="q", after="numbers(q)[:] = kept"
        ),
    },
    "08-2b-b": {
        "all rows": "def wrong_rows(T, block):\n    return list(range(T))",
        "none": "def wrong_rows(T, block):\n    return []",
        "the ragged tile only": "def wrong_rows(T, block):\n    return list(range(T // block * block, T))",
        "the last row of all is right": (
            "def wrong_rows(T, block):\n    return [row for row in range(T - 1) if row % block != block - 1]"
        ),
        "the first row of a tile is right": (
            "def wrong_rows(T, block):\n    return [row for row in range(T) if row % block]"
        ),
        "tiles of 32": "def wrong_rows(T, block):\n    return [row for row in range(T) if row % 32 != 31]",
        "asks the checker": """def wrong_rows(T, block):
    import importlib
    f = importlib.import_module('minillm.course.classroom.exercises.lesson_08_2b').unmasked
    return f(T, block, torch.Generator().manual_seed(0))""",
    },
    "08-2b-c": {
        "key heads as many as query heads": KEPT.format(**KEEPS | {"qkv": "3 * heads * T * D * width"}),
        "weights of the key heads only": KEPT.format(**KEEPS | {"weights": "kv_heads * T * T * width"}),
        "scores and weights": KEPT.format(**KEEPS | {"weights": "2 * heads * T * T * width"}),
        "a log-sum-exp of two bytes": KEPT.format(**KEEPS | {"lse": "heads * T * width"}),
        "no output": KEPT.format(**KEEPS | {"out": "0"}),
        "maximum and sum apart": KEPT.format(**KEEPS | {"lse": "2 * heads * T * 4"}),
    },
    "08-2b-d": {
        "no delta": tiled(ds="p * (upstream[rows] @ v[columns].T)"),
        "delta of the tile only": tiled(
            ds="p * (upstream[rows] @ v[columns].T - (p * (upstream[rows] @ v[columns].T)).sum(1)[:, None])"
        ),
        "delta of the values": tiled(delta="(v * upstream).sum(1)"),
        "a delta for all queries": tiled(delta="(out * upstream).sum(1).mean().expand(len(q))"),
        "no scale in dq": tiled(dq="ds @ k[columns]"),
        "no scale in dk": tiled(dk="ds.T @ q[rows]"),
        "no scale in the scores": tiled(scores="q[rows] @ k[columns].T"),
        "a scale in dv": tiled(dv="scale * p.T @ upstream[rows]"),
        "no mask": tiled(edge="False"),
        "the mask hides the query's own key": tiled(hidden="torch.ones_like(scores).triu(0) == 1"),
        "the mask in every tile": tiled(edge="True"),
        "not causal": tiled(reach="len(q)", edge="False"),
        "the diagonal only": tiled(reach="i + 1", edge="j == i").replace("range(0, i + 1, block)", "(i,)"),
        "the last tile is left out": tiled(end="len(q) - block + 1"),
        "a softmax of the tile": tiled(p="torch.softmax(scores, -1)"),
        "exponentials that overflow": tiled(p="torch.exp(scores) / torch.exp(lse[rows, None])"),
        "the last tile of keys stays": tiled(add="="),
        "dk and dv in each other's place": tiled(result="dq, dv, dk"),
        "dq alone": tiled(result="dq"),
        "float32": tiled(room="(torch.zeros_like(x).float() for x in (q, k, v))").replace(
            "    dq, dk",
            "    q, k, v, out, lse, upstream = (x.float() for x in (q, k, v, out, lse, upstream))\n    dq, dk",
        ),
        "tiles of 16, whatever the block": tiled().replace("    dq, dk", "    block = 16\n    dq, dk", 1),
        "changes the gradient that comes in": tiled(delta="upstream.mul_(2).mul_(out).sum(1) / 2"),
        "adds into q": tiled(room="q, torch.zeros_like(k), torch.zeros_like(v)"),
        "a strip of all keys": tiled()
        .replace("range(0, i + 1, block)", "(0,)")
        .replace("slice(j, j + block)", "slice(0, i + block)")
        .replace("if j == i:", "if True:")
        .replace(".triu(1)", ".triu(1 + i)"),
        "a whole mask, cut into tiles": tiled(hidden="later[rows, columns]").replace(
            "    for i in", "    later = torch.ones(len(q), len(q)).triu(1) == 1\n    for i in", 1
        ),
        "whole matrices": WHOLE.format(
            before="",
            ones="torch.ones(len(q), len(q)).triu(1) == 1",
            exp="torch.exp(q @ k.T * q.shape[1] ** -0.5 - lse[:, None])",
            scale="q.shape[1] ** -0.5",
        ),
        "whole matrices in numpy": WHOLE.format(
            before="import numpy as np\n"
            "    q, k, v, out, lse, upstream = (x.numpy() for x in (q, k, v, out, lse, upstream))",
            ones="np.triu(np.ones((len(q), len(q))), 1) == 1",
            exp="np.exp(np.minimum(q @ k.T * q.shape[1] ** -0.5 - lse[:, None], 0))",
            scale="q.shape[1] ** -0.5",
        ),
        "autograd": GRAD.format(attention=SDPA, how="return torch.autograd.grad(y, leaves, upstream)"),
        "autograd by backward": GRAD.format(
            attention=SDPA, how="y.backward(upstream)\n    return [x.grad for x in leaves]"
        ),
        "autograd of a tile": """def tiled_gradients(q, k, v, out, lse, upstream, block):
    sums = [torch.zeros_like(x) for x in (q, k, v)]
    for i in range(0, len(q), block):
        for j in range(0, i + 1, block):
            a, b, c = (x.clone().requires_grad_() for x in (q[i : i + block], k[j : j + block], v[j : j + block]))
            s = a @ b.T / q.shape[1] ** 0.5
            if j == i:
                s = s.masked_fill(torch.ones_like(s).triu(1) == 1, -torch.inf)
            o, d = out[i : i + block], upstream[i : i + block]
            p = torch.exp(s - lse[i : i + block, None])
            y = (p @ c * d).sum() - (p.sum(1) * (o * d).sum(1)).sum()
            for total, at, one in zip(sums, (i, j, j), torch.autograd.grad(y, (a, b, c))):
                total[at : at + block] += one
    return sums""",
        "torch's own backward": """def tiled_gradients(q, k, v, out, lse, upstream, block):
    given = [x[None, None].contiguous() for x in (upstream, q, k, v, out, lse)]
    found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(*given, 0.0, True)
    return [x[0, 0] for x in found]""",
        "the library's kernels": """def tiled_gradients(q, k, v, out, lse, upstream, block):
    from kernels.flash_attention import flash_attention

    leaves = [x.float()[None, None].requires_grad_() for x in (q, k, v)]
    flash_attention(*leaves, causal=True).backward(upstream.float()[None, None])
    return [x.grad[0, 0].double() for x in leaves]""",
    },
}
