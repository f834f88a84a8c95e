"""Plausible wrong answers to the exercises of lesson 08_3c."""

ACCEPT = """def accept(p, q, guesses, seed):
    rng, written = random.Random({seed}), []
    {before}
    for P, Q, row in zip(p.tolist(), q.tolist(), guesses.tolist()):
        new, weights = [], {last}
        {each}
        for i, x in enumerate(row):
            if {refused}:
                weights = {rest}
                {stop}
            new.append({keeps})
        written.append({writes})
    return written"""
RULE = {
    "seed": "seed",
    "before": "pass",
    "last": "P[-1]",
    "each": "pass",
    "refused": "rng.random() >= P[i][x] / Q[i][x]",
    "rest": "[max(a - b, 0) for a, b in zip(P[i], Q[i])]",
    "stop": "break",
    "keeps": "x",
    "writes": "[*new, *rng.choices(range(len(weights)), weights)]",
}


def accept(**change):
    return ACCEPT.format(**RULE | change)


BROKEN = """def written(p, q):
    kept = {kept}
    {lines}
    return {value}


p, q = {pair}
too_often, unseen, uncropped = {letters}"""
SOUND = {
    "kept": "[min(a, b) for a, b in zip(p, q)]",
    "lines": "refused = 1 - sum(kept)",
    "value": "[one + refused * a for one, a in zip(kept, p)]",
    "pair": "[0.5, 0.5], [1.0, 0.0]",
    "letters": '"a", "b", "b"',
}


def broken(**change):
    return BROKEN.format(**SOUND | change)


BEST = """def best_k(alpha, c, check):
    best, fastest, tokens = {start}
    for k in range(1, {end}):
        tokens += alpha**{power}
        speed = {speed}
        if speed {more} fastest:
            best, fastest = k, speed
    return best"""
FORMULA = {
    "start": "0, 1.0, 1.0",
    "end": "len(check)",
    "power": "k",
    "speed": "tokens / (k * c + check[k])",
    "more": ">",
}


def best(**change):
    return BEST.format(**FORMULA | change)


WRONG = {
    "08-3c-a": {
        "total variation instead of the overlap": "prediction = [0.5, 0.5, 3, 1.875, 1.875 / 1.8, 4]",
        "p is drawn from after a refusal": "prediction = [0.5, 0.6, 3, 1.875, 1.875 / 1.8, 4]",
        "the later guesses count, too": "prediction = [0.5, 1.0, 5, 1.875, 1.875 / 1.8, 4]",
        "two kept guesses, no token more": "prediction = [0.5, 1.0, 2, 1.875, 1.875 / 1.8, 4]",
        "k times α": "prediction = [0.5, 1.0, 3, 1 + 3 * 0.5, 2.5 / 1.8, 4]",
        "forgets the draft's price": "prediction = [0.5, 1.0, 3, 1.875, 1.875 / 1.5, 4]",
        "one guess too few": "prediction = [0.5, 1.0, 3, 1.875, 1.875 / 1.8, 3]",
        "five numbers": "prediction = [0.5, 1.0, 3, 1.875, 1.875 / 1.8]",
    },
    "08-3c-b": {
        "draws from p after a refusal": accept(rest="P[i]"),
        "the rest is |p - q|": accept(rest="[abs(a - b) for a, b in zip(P[i], Q[i])]"),
        "the rest of q": accept(rest="[max(b - a, 0) or 1e-9 for a, b in zip(P[i], Q[i])]"),
        "p without the refused token": accept(rest="[a * (j != x) or 1e-9 for j, a in enumerate(P[i])]"),
        "keeps where p is the larger one": accept(refused="P[i][x] < Q[i][x]"),
        "keeps with p": accept(refused="rng.random() >= P[i][x]"),
        "keeps with q / p": accept(refused="rng.random() * P[i][x] >= Q[i][x]"),
        "keeps everything": accept(refused="False"),
        "keeps nothing, draws from p": accept(refused="True", rest="P[i]"),
        "keeps the most likely token of p only": accept(refused="P[i][x] < max(P[i])"),
        "keeps what a draw from p happens to be": accept(
            refused="(y := rng.choices(range(len(P[i])), P[i])[0]) != x",
            rest="[float(j == y) for j in range(len(P[i]))]",
        ),
        "the best token of the rest": accept(
            rest="(r := [a - b for a, b in zip(P[i], Q[i])]) and [float(a == max(r)) for a in r]"
        ),
        "a new generator for each text": accept(each="rng = random.Random(seed)"),
        "the seed rounded": accept(seed="seed // 1000"),
        "one kept generator": "KEPT = {}\n\n\n" + accept(before="rng = KEPT.setdefault(0, rng)"),
        "is a little lenient": accept(refused="rng.random() >= 1.15 * P[i][x] / Q[i][x]"),
        "is lenient": accept(refused="rng.random() >= 1.3 * P[i][x] / Q[i][x]"),
        "never a token more": accept(last="None", writes="new if weights is None else " + RULE["writes"]),
        "the token more comes from the place before": accept(last="P[-2] if row else P[-1]"),
        "the token more comes from q": accept(last="Q[-1] if Q else P[-1]"),
        "the token more is the best one": accept(last="[float(a == max(P[-1])) for a in P[-1]]"),
        "goes on after a refusal": accept(stop="x = rng.choices(range(len(weights)), weights)[0]"),
        "writes the refused token, too": accept(stop="new.append(x); break"),
        "no token after a refusal": accept(
            stop="weights = None; break", writes="new if weights is None else " + RULE["writes"]
        ),
        "the next row of p": accept(refused="rng.random() >= P[i + 1][x] / Q[i][x]"),
        "one coin for all places": accept(each="coin = rng.random()", refused="coin >= P[i][x] / Q[i][x]"),
        "one coin for all texts": accept(
            before="coins = [rng.random() for _ in range(9)]", refused="coins[i] >= P[i][x] / Q[i][x]"
        ),
        "two texts share their coins": accept(each="rng = random.Random(seed * 1000 + len(written) // 2)"),
        "one coin for the guess and for the last token": """def accept(p, q, guesses, seed):
    rng, written = random.Random(seed), []
    for P, Q, row in zip(p.tolist(), q.tolist(), guesses.tolist()):
        new, weights, coin = [], P[-1], rng.random()
        for i, x in enumerate(row):
            coin = rng.random()
            if coin >= P[i][x] / Q[i][x]:
                weights = [max(a - b, 0) for a, b in zip(P[i], Q[i])]
                break
            new.append(x)
        left, token = coin * sum(weights), 0
        while token < len(weights) - 1 and left >= weights[token]:
            left, token = left - weights[token], token + 1
        written.append([*new, token])
    return written""",
        "always the same seed": accept(seed="0"),
        "no seed": accept(seed=""),
        "changes p": accept(before="p[:, 0] = p[:, 0].roll(1, -1)"),
        "the library's rule": """def accept(p, q, guesses, seed):
    from minillm.inference import accept_draft

    generator, written = torch.Generator().manual_seed(seed), []
    for P, Q, row in zip(p, q, guesses):
        chosen = accept_draft(P[:-1], Q, row, generator).tolist()
        n = next((i for i, one in enumerate(chosen) if one != row[i]), len(chosen))
        last = int(torch.multinomial(P[-1], 1, generator=generator))
        written.append([*chosen, last][: n + 1])
    return written""",
    },
    "08-3c-c": {
        "the right rule": broken(value="list(p)"),
        "draws from q": broken(value="[one + refused * b for one, b in zip(kept, q)]"),
        "forgets the refusals": broken(value="kept"),
        "a refused token is not drawn again": broken(
            value="[one + refused * a * (one == a) for one, a in zip(kept, p)]"
        ),
        "every token is refused by its own share": broken(
            lines="pass", value="[one + (b - one) * a for one, a, b in zip(kept, p, q)]"
        ),
        "returns p itself": broken(value="p"),
        "changes p": broken(
            lines="refused = 1 - sum(kept)\n    p[:] = [one + refused * a for one, a in zip(kept, p)]",
            value="p",
        ),
        "two decimals": broken(value="[round(one + refused * a, 2) for one, a in zip(kept, p)]"),
        "counts 50 draws": broken(
            lines="rng = random.Random(0)",
            value="[sum(rng.choices(range(len(p)), p)[0] == i for _ in range(50)) / 50 for i in range(len(p))]",
        ),
        "not far off": broken(pair="[0.5, 0.5], [0.8, 0.2]"),
        "no token in common is no harm": broken(pair="[1.0, 0.0], [0.0, 1.0]"),
        "does not add up to one": broken(pair="[5.0, 5.0], [10.0, 0.0]"),
        "negative": broken(pair="[0.5, 0.5], [1.5, -0.5]"),
        "other tokens come too often": broken(letters='"b", "b", "b"'),
        "the best one comes too often": broken(letters='"c", "b", "b"'),
        "a draft that is half right": broken(letters='"a", "c", "b"'),
        "a slow cache": broken(letters='"a", "b", "a"'),
        "a loud error": broken(letters='"a", "b", "c"'),
    },
    "08-3c-d": {
        "the most tokens": best(speed="tokens"),
        "the check is free": best(speed="tokens / (k * c + 1)"),
        "forgets the draft": best(speed="tokens / check[k]"),
        "the check of k tokens": best(speed="tokens / (k * c + check[k - 1])"),
        "one power too many": best(power="(k + 1)"),
        "always speculates": best(start="1, 0.0, 1.0"),
        "of equal ones the larger": best(more=">="),
        "never the longest": best(end="len(check) - 1"),
        "no speculation pays for a guess": best(start="0, 1 / (1 + c), 1.0"),
        "a guess too many is paid": best(speed="tokens / ((k + 1) * c + check[k])"),
        "eight at most": best(end="min(len(check), 9)"),
        "stops at the first loss": """def best_k(alpha, c, check):
    best, fastest, tokens = 0, 1.0, 1.0
    for k in range(1, len(check)):
        tokens += alpha**k
        if tokens / (k * c + check[k]) <= fastest:
            break
        best, fastest = k, tokens / (k * c + check[k])
    return best""",
        "divides by zero": """def best_k(alpha, c, check):
    speeds = [(1 - alpha ** (k + 1)) / (1 - alpha) / (k * c + one) for k, one in enumerate(check)]
    return speeds.index(max(speeds))""",
        "the library's formula": """def best_k(alpha, c, check):
    from minillm.inference import expected_speed_up

    speeds = [expected_speed_up(alpha, k, c, one) for k, one in enumerate(check)]
    return speeds.index(max(speeds))""",
    },
}
