"""Right answers to exercises, written otherwise than the stored solutions: all must pass."""

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
    "10-4-a": {
        "term by term, with a Counter": """def postings(corpus, k1=1.2, b=0.75):
    from collections import Counter, defaultdict

    counts = [Counter(words) for words in corpus]
    df = Counter(word for count in counts for word in count)
    average = sum(len(words) for words in corpus) / len(corpus)
    found = defaultdict(dict)
    for number, count in enumerate(counts):
        norm = k1 * (1 - b + b * len(corpus[number]) / average)
        for word, tf in count.items():
            idf = math.log(1 + (len(corpus) - df[word] + 0.5) / (df[word] + 0.5))
            found[word][number] = idf * tf / (tf + norm)
    return found""",
        "numpy": """def postings(corpus, k1=1.2, b=0.75):
    every = sorted({word for words in corpus for word in words})
    tf = np.array([[words.count(word) for words in corpus] for word in every], float)
    lengths = tf.sum(0)
    df = (tf > 0).sum(1)
    idf = np.log1p((len(corpus) - df + 0.5) / (df + 0.5))
    with np.errstate(invalid="ignore"):
        values = idf[:, None] * tf / (tf + k1 * (1 - b + b * lengths / lengths.mean()))
    return {w: {n: values[i, n] for n in np.flatnonzero(tf[i]).tolist()} for i, w in enumerate(every)}""",
    },
    "10-4-b": {
        "a tuple": """def fuse(rankings, k, weights):
    seen = list(dict.fromkeys(one for ranking in rankings for one in ranking))

    def score(one):
        return sum(w / (k + 1 + r.index(one)) for r, w in zip(rankings, weights) if one in r)

    return tuple(sorted(seen, key=score, reverse=True))""",
        "a generator of keys": """def fuse(rankings, k, weights):
    parts = {}
    for ranking, weight in zip(rankings, weights):
        for place, one in enumerate(ranking):
            parts.setdefault(one, []).append(weight / (k + place + 1))
    return dict(sorted(parts.items(), key=lambda item: -math.fsum(item[1]))).keys()""",
    },
    "10-4-c": {"a tuple": 'finds = ("keyword", "dense", "both", "neither", "dense")'},
    "10-4-d": {
        "Korean, with more texts": """corpus = [
    "K7 엔진을 끄고 truck 아래를 보세요: bread flour salt",
    "truck 아래를 보고 엔진을 한참 식힌 다음에 다시 오세요",
    "정비소는 아침 아홉 시에 문을 엽니다",
    "주차장은 건물 뒤쪽에 있습니다",
    "예약은 전화로만 받고 있습니다",
    "a vehicle is at the gate today",
    "토요일에는 오후 한 시까지 합니다",
]
spoiled = corpus, "K7 truck", 0""",
        "a list": """spoiled = [
    ["E47 error of the oven battery", "error of the battery", "battery", "car", "truck", "salt", "open", "nine to six"],
    "E47 error battery",
    np.int64(0).item(),
]""",
    },
}
