"""Plausible wrong answers to the exercises of lesson 13_3."""

BLEU = """def corpus_bleu(rows, max_order):
    from collections import Counter

    {before}
    matches, totals = [0] * max_order, [0] * max_order
    written = expected = 0
    for hypothesis, references in rows:
        written += {length}
        expected += {nearest}
        for n in range(1, {orders}):
            counts = Counter(tuple(hypothesis[i : i + n]) for i in range({grams}))
            others = [Counter(tuple(r[i : i + n]) for i in range(len(r) - n + 1)) for r in references]
            matches[n - 1] += sum({clip} for gram, k in {counted})
            totals[n - 1] += {total}
    penalty = {penalty}
    {precisions}
    score = {score}
    return {result}
"""
OF_BLEU = {
    "before": "pass",
    "length": "len(hypothesis)",
    "nearest": "min((abs(len(r) - len(hypothesis)), len(r)) for r in references)[1]",
    "orders": "max_order + 1",
    "grams": "len(hypothesis) - n + 1",
    "clip": "min(k, max(o[gram] for o in others))",
    "counted": "counts.items()",
    "total": "sum(counts.values())",
    "penalty": "min(1.0, math.exp(1 - expected / written)) if written else 0.0",
    "precisions": "logs = [math.log(m / t) if m else -math.inf for m, t in zip(matches, totals)]",
    "score": "100 * penalty * math.exp(sum(logs) / max_order)",
    "result": "matches, totals, penalty, score",
}

CHOOSE = """def choose(logits, choices, prompt_length):
    scores, greedy = [], []
    for table, ids in zip(logits, choices):
        total, best = 0.0, {start}
        for t in range({span}):
            row = table[{row}]
            top = {top}
            norm = {norm}
            total += {term}
            best = {best}
        scores.append({score})
        greedy.append(best)
    {after}
    return scores, greedy, {answer}
"""
OF_CHOOSE = {
    "start": "True",
    "span": "prompt_length, len(ids)",
    "row": "t - 1",
    "top": "max(row)",
    "norm": "top + math.log(sum(math.exp(x - top) for x in row))",
    "term": "row[ids[t]] - norm",
    "best": "best and row[ids[t]] == top",
    "score": "total",
    "after": "pass",
    "answer": "scores.index(max(scores))",
}

GOOD = {
    "references": ["a b c d e f g h i j k l m n o p", "red green blue gold", "one two three four"],
    "first": ["a x c x e x g x i x k x m x o x", "red green blue gold", "one two three four"],
    "second": ["a b c d e f g h i j k l m n o p", "red cyan pink gray", "one x y z"],
}


def corpus_bleu(**changes):
    return BLEU.format(**OF_BLEU | changes)


def choose(**changes):
    return CHOOSE.format(**OF_CHOOSE | changes)


def systems(**changes):
    return "\n".join(f"{name} = {value!r}" for name, value in (GOOD | changes).items())


WRONG = {
    "13-3-a": {
        "no clipping": corpus_bleu(clip="k if any(o[gram] for o in others) else 0"),
        "clips by the sum of all references": corpus_bleu(clip="min(k, sum(o[gram] for o in others))"),
        "clips by the first reference": corpus_bleu(clip="min(k, others[0][gram])"),
        "clips by the last reference": corpus_bleu(clip="min(k, others[-1][gram])"),
        "clips by the rarest": corpus_bleu(clip="min(k, min(o[gram] for o in others))"),
        "each n-gram once": corpus_bleu(clip="min(1, max(o[gram] for o in others))"),
        "different n-grams as the total": corpus_bleu(total="len(counts)"),
        "words as the total": corpus_bleu(total="len(hypothesis)"),
        "n-grams of the reference as the total": corpus_bleu(total="max(sum(o.values()) for o in others)"),
        "one n-gram too few": corpus_bleu(grams="len(hypothesis) - n"),
        "short tails as n-grams": corpus_bleu(grams="len(hypothesis)"),
        "always four orders": corpus_bleu(before="max_order = 4"),
        "the last order is left out": corpus_bleu(orders="max_order"),
        "the shortest reference": corpus_bleu(nearest="min(len(r) for r in references)"),
        "the longest reference": corpus_bleu(nearest="max(len(r) for r in references)"),
        "the first reference's length": corpus_bleu(nearest="len(references[0])"),
        "the longer of two that are as near": corpus_bleu(
            nearest="min((abs(len(r) - len(hypothesis)), -len(r), len(r)) for r in references)[2]"
        ),
        "the mean length": corpus_bleu(nearest="sum(len(r) for r in references) / len(references)"),
        "no penalty": corpus_bleu(penalty="1.0 if written else 0.0"),
        "a penalty for long texts, too": corpus_bleu(
            penalty="math.exp(-abs(1 - expected / written)) if written else 0.0"
        ),
        "the quotient as penalty": corpus_bleu(
            penalty="(min(1.0, written / expected) if expected else 1.0) if written else 0.0"
        ),
        "the quotient turned round": corpus_bleu(
            penalty="(min(1.0, math.exp(1 - written / expected)) if expected else 1.0) if written else 0.0"
        ),
        "no text has penalty 1": corpus_bleu(
            penalty="min(1.0, math.exp(1 - expected / written)) if written else 1.0"
        ),
        "a share, no percentage": corpus_bleu(score="penalty * math.exp(sum(logs) / max_order)"),
        "the arithmetic mean": corpus_bleu(
            precisions="shares = [m / t if t else 0.0 for m, t in zip(matches, totals)]",
            score="100 * penalty * sum(shares) / max_order",
        ),
        "the product without a root": corpus_bleu(score="100 * penalty * math.exp(sum(logs))"),
        "orders without a match are left out": corpus_bleu(
            precisions="logs = [math.log(m / t) for m, t in zip(matches, totals) if m]",
            score="100 * penalty * math.exp(sum(logs) / len(logs)) if logs else 0.0",
        ),
        "a match is added to all": corpus_bleu(
            precisions="logs = [math.log((m + 1) / (t + 1)) for m, t in zip(matches, totals)]"
        ),
        "rounded": corpus_bleu(score="round(100 * penalty * math.exp(sum(logs) / max_order), 1)"),
        "without the penalty": corpus_bleu(score="100 * math.exp(sum(logs) / max_order)"),
        "another order of the results": corpus_bleu(result="totals, matches, penalty, score"),
        "the library": """def corpus_bleu(rows, max_order):
    found = bleu_of_tokens(rows, max_order, "none")
    return found.matches, found.totals, found.brevity_penalty, found.score""",
        "the library under another name": """def corpus_bleu(rows, max_order):
    import minillm.evaluation.bleu as hidden
    found = getattr(hidden, "bleu_of" + "_tokens")(rows, max_order, "none")
    return found.matches, found.totals, found.brevity_penalty, found.score""",
        "sorts the references": corpus_bleu(before="[row[1].sort(key=len) for row in rows]"),
    },
    "13-3-b": {
        "the row after the id": choose(row="t"),
        "the prompt counts, too": choose(span="1, len(ids)"),
        "the first id of the choice is left out": choose(span="prompt_length + 1, len(ids)"),
        "the last id is left out": choose(span="prompt_length, max(prompt_length + 1, len(ids) - 1)"),
        "padding counts": choose(
            span="prompt_length, len(table)",
            row="min(t, len(table)) - 1",
            term="row[ids[min(t, len(ids) - 1)]] - norm",
            best="best and row[ids[min(t, len(ids) - 1)]] == top",
        ),
        "from the end of the padded rows": choose(row="t - 1 - len(ids) + len(table)"),
        "logits, no logarithms of probabilities": choose(term="row[ids[t]]"),
        "probabilities added up": choose(term="math.exp(row[ids[t]] - norm)"),
        "bits": choose(term="(row[ids[t]] - norm) / math.log(2)"),
        "the mean a token": choose(score="total / (len(ids) - prompt_length)"),
        "surprise": choose(score="-total", answer="scores.index(min(scores))"),
        "no shift before exp": choose(norm="math.log(sum(math.exp(x) for x in row))"),
        "clamped": choose(norm="math.log(sum(math.exp(min(700, x)) for x in row))"),
        "softmax with a floor": choose(term="math.log(max(1e-12, math.exp(row[ids[t]] - norm)))"),
        "any of its ids": choose(start="False", best="best or row[ids[t]] == top"),
        "only its first id": choose(best="best and (t > prompt_length or row[ids[t]] == top)"),
        "only its last id": choose(best="row[ids[t]] == top"),
        "a tie is not largest": choose(best="best and row[ids[t]] == top and row.count(top) == 1"),
        "the first of a tie": choose(best="best and row.index(top) == ids[t]"),
        "the last of equal ones": choose(answer="len(scores) - 1 - scores[::-1].index(max(scores))"),
        "the lowest": choose(answer="scores.index(min(scores))"),
        "by length": choose(
            after="ranks = [s / (len(c) - prompt_length) for s, c in zip(scores, choices)]",
            answer="ranks.index(max(ranks))",
        ),
        "the greedy one": choose(answer="greedy.index(True) if any(greedy) else scores.index(max(scores))"),
        "the score itself": choose(answer="max(scores)"),
        "half precision": """def choose(logits, choices, prompt_length):
    scores, greedy = [], []
    for table, ids in zip(logits, choices):
        logs = torch.tensor(table, dtype=torch.float16).log_softmax(-1)
        rows = range(prompt_length, len(ids))
        scores.append(sum(float(logs[t - 1, ids[t]]) for t in rows))
        greedy.append(all(table[t - 1][ids[t]] == max(table[t - 1]) for t in rows))
    return scores, greedy, scores.index(max(scores))""",
        "sorts the rows": choose(top="row.sort() or row[-1]"),
        "the library": """def choose(logits, choices, prompt_length):
    found = [scored(torch.tensor(t), ids, len(ids) - prompt_length) for t, ids in zip(logits, choices)]
    scores = [one.log_likelihood for one in found]
    return scores, [one.greedy for one in found], scores.index(max(scores))""",
    },
    "13-3-c": {
        "both prefer the first": systems(second=["x", "y", "z"]),
        "both are the same": systems(second=GOOD["first"]),
        "the wrong way round": systems(first=GOOD["second"], second=GOOD["first"]),
        "one text": systems(references=["a b c d"], first=["a b c d"], second=["a b c d e"]),
        "a text twice": systems(
            references=[*GOOD["references"], "red green blue gold"],
            first=[*GOOD["first"], "red green blue gold"],
            second=[*GOOD["second"], "w x y z"],
        ),
        "a list is too short": systems(first=GOOD["first"][:2]),
        "an empty text": systems(second=[GOOD["second"][0], "", "one x y z"]),
        "too long": systems(
            references=[" ".join(f"w{n}" for n in range(60)), *GOOD["references"][1:]],
            second=[" ".join(f"w{n}" for n in range(60)), *GOOD["second"][1:]],
        ),
        "words, no texts": systems(references=[one.split() for one in GOOD["references"]]),
        "only nearly": systems(
            first=["a b c d e f g h i j k l m n x x", "red green blue gold", "one two three four"],
            second=["a b c d e f g h i j k l m n o p", "red green blue x", "one two three x"],
        ),
    },
    "13-3-d": {
        "without clipping": "prediction = [4, 3, 1, 2, 2]",
        "each word once": "prediction = [2, 3, 1, 2, 2]",
        "common words in any order": "prediction = [3, 4, 1, 2, 2]",
        "a common run": "prediction = [3, 2, 1, 2, 2]",
        "the smallest sum": "prediction = [3, 3, 2, 2, 2]",
        "by letter is by sum": "prediction = [3, 3, 1, 1, 2]",
        "places from one": "prediction = [3, 3, 2, 3, 2]",
        "the result of the sum": "prediction = [3, 3, 1, 2, 42]",
        "the first number": "prediction = [3, 3, 1, 2, 12]",
        "four numbers": "prediction = [3, 3, 1, 2]",
    },
}
