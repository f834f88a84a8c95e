"""Right answers to exercises of lessons 08_2 and 08_3, written otherwise than the stored solutions: all must pass."""

RIGHT = {
    "07-1-a": {
        "in closed form": """def tokens_computed(prompt, new, cache):
    return prompt + new - 1 if cache else new * prompt + new * (new - 1) // 2""",
        "a tensor of one number": """def tokens_computed(prompt, new, cache):
    lengths = torch.arange(prompt, prompt + new)
    return lengths.max() if cache else lengths.sum()""",
    },
    "07-1-b": {
        "lists of pieces, joined when they are read": """class ListCache:
    def __init__(self, layers):
        self.keys, self.values = [[] for _ in range(layers)], [[] for _ in range(layers)]

    @property
    def length(self):
        return min(sum(piece.shape[2] for piece in pieces) for pieces in self.keys)

    def attend(self, layer, q, k, v, **options):
        self.keys[layer].append(k)
        self.values[layer].append(v)
        return attention(q, torch.cat(self.keys[layer], 2), torch.cat(self.values[layer], 2), **options)

    def crop(self, length):
        for store in (self.keys, self.values):
            for layer, pieces in enumerate(store):
                store[layer] = [torch.cat(pieces, 2)[:, :, :length]] if pieces else []""",
        "one token a list item, softmax by hand": """class ListCache:
    def __init__(self, layers):
        self.tokens = {layer: [] for layer in range(layers)}

    @property
    def length(self):
        return min(map(len, self.tokens.values()))

    def attend(self, layer, q, k, v, mask=None, causal=True, scale=None, bias=None):
        self.tokens[layer] += list(zip(k.unbind(2), v.unbind(2)))
        keys, values = (torch.stack(part, dim=2) for part in zip(*self.tokens[layer]))
        groups = q.shape[1] // k.shape[1]
        keys, values = keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1)
        scores = q @ keys.transpose(2, 3) * (q.shape[-1] ** -0.5 if scale is None else scale)
        scores = scores if bias is None else scores + bias
        seen = torch.ones(scores.shape[2:], dtype=torch.bool).tril(keys.shape[2] - q.shape[2])
        seen = seen if causal else torch.ones_like(seen)
        seen = seen if mask is None else seen & mask
        return scores.masked_fill(~seen, -torch.inf).softmax(-1) @ values

    def crop(self, length):
        self.tokens = {layer: tokens[:length] for layer, tokens in self.tokens.items()}""",
        "doubles its room when it is full": """class ListCache:
    def __init__(self, layers):
        self.rows, self.counts = [None] * layers, [0] * layers

    @property
    def length(self):
        return min(self.counts)

    def attend(self, layer, q, k, v, **options):
        start, stop = self.counts[layer], self.counts[layer] + k.shape[2]
        rows = self.rows[layer]
        if rows is None or rows.shape[3] < stop:
            room = k.new_zeros(2, k.shape[0], k.shape[1], 2 * stop, k.shape[3])
            if rows is not None:
                room[:, :, :, :start] = rows[:, :, :, :start]
            rows = self.rows[layer] = room
        rows[0, :, :, start:stop], rows[1, :, :, start:stop] = k, v
        self.counts[layer] = stop
        return attention(q, rows[0, :, :, :stop], rows[1, :, :, :stop], **options)

    def crop(self, length):
        self.counts = [min(count, length) for count in self.counts]""",
    },
    "07-1-c": {
        "a loop over the layers": """def cache_bytes(config, texts, tokens, size):
    total = 0
    for window in config.windows:
        rows = tokens if window is None or window > tokens else window
        total += 2 * rows * config.num_key_value_heads * config.head_dim * texts * size
    return total""",
        "a tensor": """def cache_bytes(config, texts, tokens, size):
    rows = torch.tensor([tokens if w is None else w for w in config.windows]).clamp(max=tokens)
    return (2 * rows * config.kv_heads * config.head_dim * texts * size).sum()""",
    },
    "07-1-d": {
        "reads the last token too, gives a tensor": """@torch.inference_mode()
def surprise(model, ids, prompt, place):
    cache = KVCache(model.config, 1, len(ids))
    positions = torch.tensor([[place(n) for n in range(len(ids))]])
    pieces = torch.tensor([ids]).split([prompt] + [1] * (len(ids) - prompt), dim=1)
    logits = []
    for piece in pieces:
        here = positions[:, cache.length : cache.length + piece.shape[1]]
        logits.append(model(piece, cache=cache, position_ids=here).logits[0, -1])
    return torch.nn.functional.cross_entropy(torch.stack(logits[:-1]), torch.tensor(ids[prompt:]))


shows, reason = "C", " b" """,
        "prefill, then one token a pass": """def surprise(model, ids, prompt, place):
    cache, total = model.new_cache(1, len(ids)), 0.0
    with torch.no_grad():
        here = torch.tensor([place(n) for n in range(prompt)])
        scores = model(torch.tensor([ids[:prompt]]), cache=cache, position_ids=here).logits[0, -1]
        for n in range(prompt, len(ids)):
            total -= torch.log_softmax(scores, 0)[ids[n]].item()
            if n + 1 < len(ids):
                here = torch.tensor([[place(n)]])
                scores = model(torch.tensor([[ids[n]]]), cache=cache, position_ids=here).logits[0, -1]
    return total / (len(ids) - prompt)


shows = "c"
reason = "b" """,
    },
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
        "counts with the ledger": """def trips(rows, width, size, fused):
    dtype = {2: torch.float16, 4: torch.float32}[size]
    x, bias = torch.zeros(rows, width, dtype=dtype), torch.zeros(width, dtype=dtype)
    with Ledger() as ledger:
        F.gelu(x + bias) + x
    return (1, 3 * x.nbytes + bias.nbytes) if fused else (len(ledger.rows), ledger.bytes)""",
    },
    "08-3-b": {
        "tiles of two rows": """@triton.jit
def tile_kernel(source, bias, target, N, C, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    r = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    c = tl.arange(0, COLUMNS)[None, :]
    inside = (r < N) & (c < C)
    s = tl.load(source + r * C + c, mask=inside, other=0).to(tl.float32)
    s += tl.load(bias + c, mask=c < C, other=0).to(tl.float32)
    tl.store(target + r * C + c, (s + s * tl.erf(s / 1.4142135623730951)) * 0.5, mask=inside)


def bias_gelu(x, bias):
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    N, C = x.shape
    tile_kernel[(triton.cdiv(N, 2),)](x, bias, y, N, C, ROWS=2, COLUMNS=triton.next_power_of_2(C))
    return y""",
        "flat blocks, the bias by remainder": """@triton.jit
def flat_kernel(x_ptr, bias_ptr, y_ptr, n, width, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    s = tl.load(x_ptr + place, mask=place < n).to(tl.float32)
    s += tl.load(bias_ptr + place % width, mask=place < n).to(tl.float32)
    tl.store(y_ptr + place, s * (0.5 + 0.5 * tl.erf(0.7071067811865476 * s)), mask=place < n)


def bias_gelu(x, bias):
    y = x.new_empty(x.shape)
    n = x.numel()
    flat_kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x.view(-1), bias, y, n, x.shape[1], BLOCK=256)
    return y""",
        "a loop along the row": """@triton.jit
def loop_kernel(x_ptr, bias_ptr, y_ptr, width, step, BLOCK: tl.constexpr):
    x_row = x_ptr + tl.program_id(0) * step
    for start in range(0, width, BLOCK):
        c = start + tl.arange(0, BLOCK)
        s = tl.cast(tl.load(x_row + c, c < width, 0.0), tl.float32)
        s += tl.cast(tl.load(bias_ptr + c, c < width, 0.0), tl.float32)
        y = 0.5 * s * (1 + tl.erf(s * 0.7071067811865476))
        tl.store(y_ptr + tl.program_id(0) * step + c, y.to(y_ptr.dtype.element_ty), c < width)


def bias_gelu(x, bias):
    y = torch.empty_like(x)
    loop_kernel[(x.shape[0], 1)](x, bias, y, x.shape[1], x.stride(0), BLOCK=512)
    return y""",
    },
    "08-3-c": {
        "row by row": """def loss_and_gradient(logits, targets, smoothing=0.0):
    gradient, loss = torch.zeros_like(logits), 0.0
    count = sum(target != -100 for target in targets.tolist())
    for n, target in enumerate(targets.tolist()):
        if target != -100:
            row = logits[n] - logits[n].max()
            wanted = torch.full_like(row, smoothing / len(row))
            wanted[target] += 1 - smoothing
            total = row.exp().sum()
            loss = loss - (wanted * (row - total.log())).sum() / count
            gradient[n] = (row.exp() / total - wanted) / count
    return loss, gradient""",
        "the loss as a Python number": """def loss_and_gradient(logits, targets, smoothing=0.0):
    keep = targets.ne(-100)
    wanted = (1 - smoothing) * F.one_hot(targets.where(keep, 0), logits.size(1)) + smoothing / logits.size(1)
    count = keep.sum().item()
    loss = -(wanted * torch.log_softmax(logits, 1))[keep].sum().item() / count
    gradient = torch.softmax(logits, 1) - wanted
    gradient[~keep] = 0
    return loss, gradient / count""",
        "in float32, as the kernel": """def loss_and_gradient(logits, targets, smoothing=0.0):
    x, keep = logits.float(), (targets != -100).float()
    lse, target = torch.logsumexp(x, -1), targets.clamp(min=0)[:, None]
    loss = lse - (1 - smoothing) * x.gather(1, target)[:, 0] - smoothing * x.mean(-1)
    gradient = torch.exp(x - lse[:, None]) - smoothing / x.shape[1]
    gradient.scatter_add_(1, target, torch.full_like(target, smoothing - 1, dtype=torch.float32))
    return (loss * keep).sum() / keep.sum(), gradient * keep[:, None] / keep.sum()""",
    },
}
