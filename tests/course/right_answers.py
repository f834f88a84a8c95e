"""Right answers to exercises of lessons 08_2 and 08_3, written otherwise than the stored solutions: all must pass."""

RIGHT = {
    "08-2-a": {
        "running mean and log-sum-exp": """def attend_stream(pairs):
    lse, mean = -math.inf, None
    for score, value in pairs:
        mean = mean or [0.0] * len(value)
        if score == -math.inf:
            continue
        high, low = max(lse, score), min(lse, score)
        total = high + math.log1p(math.exp(low - high))
        old, new = math.exp(lse - total), math.exp(score - total)
        mean, lse = [old * a + new * b for a, b in zip(mean, value)], total
    return mean, lse""",
        "starts from a very low number": """def attend_stream(pairs):
    largest, total, sums = -1e30, 0.0, None
    for score, value in pairs:
        sums = sums or [0.0] * len(value)
        if score > largest:
            shrink = math.exp(largest - score)
            largest, total, sums = score, total * shrink, [x * shrink for x in sums]
        share = math.exp(score - largest)
        total += share
        for d, x in enumerate(value):
            sums[d] += share * x
    if not total:
        return sums, -math.inf
    return [x / total for x in sums], largest + math.log(total)""",
    },
    "08-2-b": {
        "asks every block": """def visit(T, S, block_q, block_k, left=None):
    plan = []
    for tile in range((T + block_q - 1) // block_q):
        a, b = tile * block_q + S - T, min((tile + 1) * block_q, T) - 1 + S - T
        row = []
        for j in range((S + block_k - 1) // block_k):
            low, high = j * block_k, (j + 1) * block_k - 1
            if low <= b and (left is None or min(high, S - 1) >= a - left):
                row.append((j, not (high <= a and (left is None or low >= b - left))))
        plan.append(row)
    return plan""",
        "draws the picture": """def visit(T, S, block_q, block_k, left=None):
    blocks = -(-S // block_k)
    behind = torch.arange(T)[:, None] + S - T - torch.arange(blocks * block_k)[None]
    seen = (behind >= 0) & (behind <= (S if left is None else left)) & (torch.arange(blocks * block_k) < S)
    tiles = [[part for part in rows.split(block_k, 1)] for rows in seen.split(block_q)]
    return [[(j, not bool(x.all())) for j, x in enumerate(row) if x.any()] for row in tiles]""",
    },
    "08-2-d": {
        "two at a time": """def merge(parts):
    out, lse = parts[0]
    for other, its in parts[1:]:
        both = torch.logaddexp(lse, its)
        base = torch.where(both == -math.inf, 0.0, both)
        out = out * torch.exp(lse - base)[:, None] + other * torch.exp(its - base)[:, None]
        lse = both
    return out, lse""",
        "softmax over the pieces": """def merge(parts):
    lses = torch.stack([lse for _, lse in parts], dim=1)
    shares = torch.nan_to_num(torch.softmax(lses, dim=1), nan=0.0)
    out = torch.einsum("tn,ntd->td", shares, torch.stack([out for out, _ in parts]))
    return out, torch.logsumexp(lses, dim=1)""",
    },
    "08-3-a": {
        "counts with watch": """def trips(rows, width, size, fused):
    dtype = {2: torch.float16, 4: torch.float32, 8: torch.float64}[size]
    x, bias = torch.zeros(rows, width, dtype=dtype), torch.zeros(width, dtype=dtype)
    with watch() as seen:
        F.gelu(x + bias) + x
    return (1, 3 * x.nbytes + bias.nbytes) if fused else (seen.launches, seen.bytes_moved)""",
        "a list": """def trips(rows, width, size, fused):
    steps = [[2, 0, 1]] if fused else [[1, 0, 1], [1, 0, 1], [2, 0, 1]]
    return [len(steps), width * size * (1 + rows * sum(map(sum, steps)))]""",
        "an array": """def trips(rows, width, size, fused):
    launches = 1 if fused else 3
    return np.array([launches, size * (width + (2 * launches + 1) * rows * width)])""",
        "a tensor": """def trips(rows, width, size, fused):
    tensors = torch.tensor([3.0]) if fused else torch.tensor([2.0, 2, 3])
    return torch.stack([torch.tensor(float(len(tensors))), tensors.sum() * rows * width * size + width * size])""",
    },
    "08-3-b": {
        "tiles of two rows": """@triton.jit
def tile_kernel(a, b, weight, bias, y, s, N, C, eps, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    r = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    c = tl.arange(0, COLUMNS)[None, :]
    inside = (r < N) & (c < C)
    x = tl.load(a + r * C + c, mask=inside, other=0).to(tl.float32)
    x += tl.load(b + r * C + c, mask=inside, other=0).to(tl.float32)
    x = x.to(a.dtype.element_ty).to(tl.float32)
    tl.store(s + r * C + c, x, mask=inside)
    x = tl.where(inside, x - tl.sum(x, axis=1, keep_dims=True) / C, 0)
    x = x / tl.sqrt(tl.sum(x * x, axis=1, keep_dims=True) / C + eps)
    x = x * tl.load(weight + c, mask=c < C, other=0).to(tl.float32) + tl.load(bias + c, mask=c < C, other=0)
    tl.store(y + r * C + c, x, mask=inside)


def add_layer_norm(x, residual, weight, bias, eps):
    y, s = torch.empty(x.shape, dtype=x.dtype), x.new_empty(x.shape)
    N, C = x.shape
    block = triton.next_power_of_2(C)
    tile_kernel[(triton.cdiv(N, 2),)](x, residual, weight, bias, y, s, N, C, eps, ROWS=2, COLUMNS=block)
    return [y, s]""",
        "three loops along the row": """@triton.jit
def loop_kernel(x_ptr, residual_ptr, weight_ptr, bias_ptr, y_ptr, s_ptr, width, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0) * width
    total = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, width, BLOCK):
        c = start + tl.arange(0, BLOCK)
        s = tl.load(x_ptr + row + c, c < width, 0.0).to(tl.float32)
        s += tl.load(residual_ptr + row + c, c < width, 0.0).to(tl.float32)
        s = s.to(s_ptr.dtype.element_ty)
        tl.store(s_ptr + row + c, s, c < width)
        total += s.to(tl.float32)
    mean = tl.sum(total) / width
    squares = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, width, BLOCK):
        c = start + tl.arange(0, BLOCK)
        s = tl.load(s_ptr + row + c, c < width, 0.0).to(tl.float32)
        squares += tl.where(c < width, (s - mean) * (s - mean), 0.0)
    r = tl.rsqrt(tl.sum(squares) / width + eps)
    for start in range(0, width, BLOCK):
        c = start + tl.arange(0, BLOCK)
        s = tl.load(s_ptr + row + c, c < width, 0.0).to(tl.float32)
        w = tl.load(weight_ptr + c, c < width, 0.0).to(tl.float32)
        tl.store(y_ptr + row + c, (s - mean) * r * w + tl.load(bias_ptr + c, c < width, 0.0), c < width)


def add_layer_norm(x, residual, weight, bias, eps):
    y, s = torch.empty_like(x), torch.empty_like(x)
    loop_kernel[(len(x),)](x, residual, weight, bias, y, s, x.shape[1], eps, BLOCK=256)
    return y, s""",
    },
    "08-3-c": {
        "row by row": """def head_loss(hidden, weight, targets, rows):
    loss, d_hidden, d_weight = 0.0, torch.zeros_like(hidden), torch.zeros_like(weight)
    count = sum(target != -100 for target in targets.tolist())
    for n, target in enumerate(targets.tolist()):
        if target != -100:
            row = weight @ hidden[n]
            row = (row - row.max()).exp()
            row /= row.sum()
            logits = weight @ hidden[n]
            loss += (torch.logsumexp(logits, 0) - logits[target]).item() / count
            row[target] -= 1
            d_hidden[n] = row @ weight / count
            d_weight += torch.outer(row, hidden[n]) / count
    return loss, d_hidden, d_weight""",
        "numpy": """def head_loss(hidden, weight, targets, rows):
    h, w, t = np.asarray(hidden), np.asarray(weight), np.asarray(targets)
    count, losses, dh, dw = (t >= 0).sum(), [], [], 0
    for a in range(0, len(h), rows):
        x = h[a : a + rows] @ w.T
        keep = t[a : a + rows] >= 0
        one = np.eye(1, len(w))[0] * 0
        x -= x.max(1, keepdims=True)
        total = np.exp(x).sum(1)
        place = np.arange(len(x))[keep], t[a : a + rows][keep]
        losses.append((np.log(total)[keep] - x[place]).sum())
        x = np.exp(x) / total[:, None]
        x[place] -= 1
        x[~keep] = 0
        dh.append(x @ w / count)
        dw = dw + x.T @ h[a : a + rows] / count
    return sum(losses) / count, np.concatenate(dh), dw""",
        "split, one-hot, a list": """def head_loss(hidden, weight, targets, rows):
    count = targets.ne(-100).sum().item()
    total, pieces, d_weight = 0.0, [], 0.0
    for h, t in zip(hidden.split(rows), targets.split(rows)):
        keep = t.ne(-100)
        wanted = F.one_hot(t.where(keep, 0), weight.size(0)) * keep[:, None]
        logits = torch.einsum("tc,vc->tv", h, weight)
        lse = torch.logsumexp(logits, 1)
        total += ((lse - (logits * wanted).sum(1)) * keep).sum()
        G = ((logits - lse[:, None]).exp() * keep[:, None] - wanted) / count
        pieces.append(G.matmul(weight))
        d_weight = d_weight + torch.einsum("tv,tc->vc", G, h)
    return [total / count, torch.cat(pieces), d_weight]""",
    },
    "08-3-d": {
        "arrays and tensors": """broken = {
    "harmless": np.array([-0.5, -0.25, -1.0, -0.1, -3.0]),
    "lost": torch.tensor([-150.0, -150.5, -151.0, -150.0, -149.5]),
    "width": np.int64(65_536 // 64),
    "vanishes": np.linspace(33, 39, 64),
}""",
        "tuples, other signs, a name more": """broken = dict(
    vanishes=tuple((-1) ** n * 35 for n in range(64)), width=1024, lost=(-1000, -1000, -1001, -999, -1000),
    harmless=(-7.0, -8.0, -9.0, -7.5, -10.0), why="65,536 is more than float16 holds",
)""",
    },
}
