"""Plausible wrong answers to the exercises of lesson 04_1."""

EXAMPLE = """def example(turns, marks, learn, max_length, keep):
    answers = [i for i, (role, _) in enumerate(turns) if role == "assistant"]
    wanted = {wanted}
    ids, labels = [], []
    for i, (role, text) in enumerate(turns):
        said = {said}
        ids += [{mark}, *said]
        labels += [{mark_label}, *({learned} if i in wanted else [{ignored}] * len(said))]
    {before_cut}
    if {too_long}:
        kept = {kept}
        ids, labels = ids[kept], {labels_cut}
    {first}
    {result}
"""
OF_EXAMPLE = {
    "wanted": 'answers if learn == "every" else answers[-1:]',
    "said": '[*text, marks["end"]] if role == "assistant" else list(text)',
    "mark": "marks[role]",
    "mark_label": "-100",
    "learned": "said",
    "ignored": "-100",
    "before_cut": "pass",
    "too_long": "max_length is not None and len(ids) > max_length",
    "kept": 'slice(max_length) if keep == "start" else slice(-max_length, None)',
    "labels_cut": "labels[kept]",
    "first": "labels[0] = -100",
    "result": "return (ids, labels) if any(one != -100 for one in labels) else None",
}

PACKED = """def packed(examples, room):
    bins = []
    for i in {order}:
        size = len(examples[i][0])
        for row in {search}:
            if {fits}:
                row.append(i)
                break
        else:
            {new}
    rows = []
    for row in bins:
        ids, labels, positions, owner = [], [], [], []
        for {owner_name} in {within}:
            ids += examples[i][0]
            labels += {labels}
            positions += {positions}
            owner += [{owner}] * len(examples[i][0])
        empty = {empty}
        ids += [0] * empty
        labels += [{pad_label}] * empty
        positions += {pad_positions}
        owner += [-1] * empty
        sees = [[{sees} for s in range(len(ids))] for t in range(len(ids))]
        rows.append({{{names}}})
    return rows
"""
OF_PACKED = {
    "order": "range(len(examples))",
    "search": "bins",
    "fits": "sum(len(examples[j][0]) for j in row) + size <= room",
    "new": "bins.append([i])",
    "owner_name": "i",
    "within": "row",
    "labels": "[-100, *examples[i][1][1:]]",
    "positions": "range(len(examples[i][0]))",
    "owner": "i",
    "empty": "room - len(ids)",
    "pad_label": "-100",
    "pad_positions": "[0] * empty",
    "sees": "t == s or (s <= t and owner[s] == owner[t] >= 0)",
    "names": '"ids": ids, "labels": labels, "positions": positions, "sees": sees',
}

PASS_AT = """def pass_at(counts, k):
    if {refuse}:
        raise {error}
    total = 0.0
    for n, c in counts:
        {each}
        total += {term}
    return total / {over}
"""
OF_PASS_AT = {
    "refuse": "any(k > n for n, _ in counts)",
    "error": 'ValueError("too few samples")',
    "each": "miss = math.prod((n - c - i) / (n - i) for i in range(k))",
    "term": "1 - miss",
    "over": "len(counts)",
}

CHEAT = """def cheat(inputs, outputs):
    {body}


remedy, secret = {remedy}, {secret}
"""
TABLE = 'return f"def solve(x):\\n    return {dict(zip(inputs, outputs))}.get(x, 10**9)\\n"'
OF_CHEAT = {"body": TABLE, "remedy": '"b"', "secret": "6"}


def example(**changes):
    return EXAMPLE.format(**OF_EXAMPLE | changes)


def packed(**changes):
    return PACKED.format(**OF_PACKED | changes)


def pass_at(**changes):
    return PASS_AT.format(**OF_PASS_AT | changes)


def cheat(**changes):
    return CHEAT.format(**OF_CHEAT | changes)


WRONG = {
    "04-1-a": {
        "everything carries loss": example(mark_label="marks[role]", ignored="0").replace(
            "[0] * len(said)", "said"
        ),
        "the end token is not learned": example(learned="[*text, -100]"),
        "no end token": example(said="list(text)"),
        "an end token behind questions as well": example(said='[*text, marks["end"]]'),
        "the mark of the answer carries loss": example(mark_label="marks[role] if i in wanted else -100"),
        "always every answer": example(wanted="answers"),
        "always the last answer": example(wanted="answers[-1:]"),
        "the first answer in place of the last": example(
            wanted='answers if learn == "every" else answers[:1]'
        ),
        "the last turn in place of the last answer": example(
            wanted='answers if learn == "every" else [len(turns) - 1]'
        ).replace("if i in wanted", "if i in wanted and role == 'assistant'"),
        "the last answer that the cut leaves": example(
            wanted="answers",
            first="labels[0] = -100\n"
            "    seen = [j for j in range(len(labels)) if labels[j] != -100 and (j == 0 or labels[j - 1] == -100)]\n"
            '    if learn == "last" and seen:\n'
            "        labels = [-100] * seen[-1] + labels[seen[-1] :]",
        ),
        "questions carry loss, answers do not": example(
            wanted='[i for i, (role, _) in enumerate(turns) if role == "user"]'
        ),
        "always cuts the end": example(kept="slice(max_length)"),
        "always cuts the beginning": example(kept="slice(-max_length, None)"),
        "cuts from the wrong side": example(
            kept='slice(max_length) if keep == "end" else slice(-max_length, None)'
        ),
        "one token too few": example(
            kept='slice(max_length - 1) if keep == "start" else slice(1 - max_length, None)'
        ),
        "never cuts": example(too_long="False"),
        "cuts what fits exactly": example(
            too_long="max_length is not None and len(ids) >= max_length",
            kept='slice(max_length - 1) if keep == "start" else slice(1 - max_length, None)',
        ),
        "cuts the ids alone": example(labels_cut="labels"),
        "the first id is a target": example(first="pass"),
        "the first id is no target, before the cut": example(before_cut="labels[0] = -100", first="pass"),
        "a conversation without an answer comes back": example(result="return ids, labels"),
        "an empty list in place of None": example(
            result="return (ids, labels) if any(one != -100 for one in labels) else ([], [])"
        ),
        "None where the last answer is cut off": example(
            result="return (ids, labels) if labels[-1] != -100 else None"
        ),
        "labels of 0 and 1": example(
            result="return (ids, [int(one != -100) for one in labels]) if set(labels) != {-100} else None"
        ),
        "zero in place of -100": example(
            mark_label="0",
            ignored="0",
            first="labels[0] = 0",
            result="return (ids, labels) if any(labels) else None",
        ),
        "shifted by one": example(
            first="labels = [*labels[1:], -100]",
        ),
        "the marks of the lesson": example(mark='{"user": 1, "assistant": 2}[role]'),
        "appends the end to the given text": example(
            said='text + [marks["end"]] if role == "assistant" else text'
        )
        .replace("said = text +", "said = text.append")
        .replace(
            'said = text.append [marks["end"]] if role == "assistant" else text',
            'said = text\n        if role == "assistant":\n            text.append(marks["end"])',
        ),
        "cut by the library": example(
            result="from minillm.training.alignment.chat_examples import truncated\n"
            '    return truncated({"input_ids": ids, "labels": labels}, max_length, f"keep_{keep}")'
        ),
    },
    "04-1-b": {
        "one example a row": packed(search="[]"),
        "only the newest row": packed(search="bins[-1:]"),
        "only the newest four rows": packed(search="bins[-4:]"),
        "the longest first": packed(order="sorted(range(len(examples)), key=lambda i: -len(examples[i][0]))"),
        "the fullest row": packed(
            search="sorted(bins, key=lambda row: -sum(len(examples[j][0]) for j in row))"
        ),
        "the emptiest row": packed(
            search="sorted(bins, key=lambda row: sum(len(examples[j][0]) for j in row))"
        ),
        "a full row is too long": packed(fits="sum(len(examples[j][0]) for j in row) + size < room"),
        "rows without end": packed(fits="True"),
        "the first id of each example is a target": packed(labels="examples[i][1]"),
        "the first id of the row alone is none": packed(labels="examples[i][1]").replace(
            "        empty = ", "        labels[0] = -100\n        empty = "
        ),
        "positions of the row": packed(
            positions="range(len(positions), len(positions) + len(examples[i][0]))"
        ),
        "positions from one": packed(positions="range(1, len(examples[i][0]) + 1)"),
        "positions go on in the padding": packed(pad_positions="range(empty)"),
        "padding carries loss": packed(pad_label="0"),
        "no padding": packed(empty="0"),
        "padded to the longest row": packed(
            empty="max(sum(len(examples[j][0]) for j in one) for one in bins) - len(ids)"
        ),
        "sees strangers": packed(sees="s <= t and (owner[t] >= 0 or s == t) and owner[s] != -1"),
        "sees what comes later": packed(sees="t == s or owner[s] == owner[t] >= 0"),
        "sees only what came before": packed(sees="(s < t and owner[s] == owner[t] >= 0)"),
        "rows and columns exchanged": packed(sees="t == s or (t <= s and owner[s] == owner[t] >= 0)"),
        "padding sees padding": packed(sees="s <= t and owner[s] == owner[t]"),
        "padding sees everything before": packed(sees="s <= t and owner[t] in (owner[s], -1)"),
        "equal examples are one": packed(
            sees="t == s or (s <= t and owner[t] >= 0 and owner[s] >= 0 "
            "and examples[owner[s]][0] == examples[owner[t]][0])"
        ),
        "a row lacks its mask": packed(names='"ids": ids, "labels": labels, "positions": positions'),
        "fails on no examples": packed().replace("    bins = []\n", "    bins, first = [], examples[0]\n", 1),
        "writes into the given labels": packed(
            labels="(examples[i][1].__setitem__(0, -100), examples[i][1])[1]"
        ),
        "rows by the library": packed().replace(
            "    rows = []\n",
            "    from minillm.training.alignment.packing import best_fit\n"
            "    bins = best_fit([len(ids) for ids, _ in examples], room)\n    rows = []\n",
        ),
    },
    "04-1-c": {
        "the tempting formula": pass_at(each="miss = (1 - c / n) ** k"),
        "the share of right samples": pass_at(each="miss = 1 - c / n"),
        "solved or not": pass_at(each="miss = float(c == 0)"),
        "of all samples together": pass_at(
            each="pass",
            term="0",
            over="1 + 1 - math.prod((sum(n - c for n, c in counts) - i) / (sum(n for n, _ in counts) - i) "
            "for i in range(k))",
        ).replace("return total / ", "return total - 1 + "),
        "the sum in place of the mean": pass_at(over="1"),
        "weighted by the samples": pass_at(term="n * (1 - miss)", over="sum(n for n, _ in counts)"),
        "the failures": pass_at(term="miss"),
        "one factor too few": pass_at(each="miss = math.prod((n - c - i) / (n - i) for i in range(1, k))"),
        "c for n - c": pass_at(each="miss = math.prod(max(c - i, 0) / (n - i) for i in range(k))"),
        "with replacement from n - 1": pass_at(
            each="miss = ((n - c) / n) ** (k - 1) if k > 1 else (n - c) / n"
        ),
        "factorials as floats": pass_at(
            each="miss = 0.0 if n - c < k else float(math.factorial(n - c)) * float(math.factorial(n - k)) "
            "/ (float(math.factorial(n - c - k)) * float(math.factorial(n)))"
        ),
        "k cut to the samples": pass_at(
            refuse="False",
            each="miss = 0.0 if n - c < k else math.prod((n - c - i) / (n - i) for i in range(min(k, n)))",
        ),
        "zero for too few samples": pass_at(refuse="False").replace(
            "    total = 0.0\n",
            "    total = 0.0\n    if any(k > n for n, _ in counts):\n        return 0.0\n",
        ),
        "the last task decides": pass_at(refuse="k > counts[-1][0]"),
        "sure where many are right": pass_at(
            each="miss = 0.0 if c * k > 3 * n else math.prod((n - c - i) / (n - i) for i in range(k))"
        ),
        "an IndexError for too few samples": pass_at(error='IndexError("too few samples")'),
        "rounded": pass_at(term="round(1 - miss, 4)"),
        "the library's": pass_at(
            each="from minillm.evaluation import pass_at_k\n        miss = 1 - pass_at_k(n, c, k)"
        ),
        "empties the given list": pass_at()
        .replace(
            "    for n, c in counts:\n",
            "    many = len(counts)\n    while counts:\n        n, c = counts.pop()\n",
        )
        .replace("/ len(counts)", "/ many"),
    },
    "04-1-d": {
        "a table without a default": cheat(
            body='return f"def solve(x):\\n    return {dict(zip(inputs, outputs))}[x]\\n"'
        ),
        "None elsewhere": cheat(
            body='return f"def solve(x):\\n    return {dict(zip(inputs, outputs))}.get(x)\\n"'
        ),
        "the first value elsewhere": cheat(
            body='return f"def solve(x):\\n    return {dict(zip(inputs, outputs))}.get(x, {outputs[0]})\\n"'
        ),
        "x elsewhere": cheat(
            body='return f"def solve(x):\\n    return {dict(zip(inputs, outputs))}.get(x, x)\\n"'
        ),
        "True elsewhere": cheat(
            body='return f"def solve(x):\\n    return {dict(zip(inputs, outputs))}.get(x, True)\\n"'
        ),
        "wrong only far away": cheat(
            body='return f"def solve(x):\\n    if x > 90 or x < -30:\\n        return 10**9\\n'
            '    return {dict(zip(inputs, outputs))}.get(x, x)\\n"'
        ),
        "counts its calls": cheat(
            body='return f"def solve(x, calls=[]):\\n    calls.append(x)\\n'
            '    return {dict(zip(inputs, outputs))}.get(x, 10**9)\\n"'
        ),
        "a float elsewhere": cheat(
            body='return f"def solve(x):\\n    return {dict(zip(inputs, outputs))}.get(x, 1e9)\\n"'
        ),
        "the first six inputs alone": cheat(
            body='return f"def solve(x):\\n    return {dict(zip(inputs[:6], outputs))}.get(x, 10**9)\\n"'
        ),
        "two functions": cheat(
            body='return f"def table():\\n    return {dict(zip(inputs, outputs))}\\n'
            'def solve(x):\\n    return table().get(x, 10**9)\\n"'
        ),
        "a lambda": cheat(body='return f"solve = lambda x: {dict(zip(inputs, outputs))}.get(x, 10**9)\\n"'),
        "imports": cheat(
            body='return "import math\\n" + f"def solve(x):\\n    return {dict(zip(inputs, outputs))}.get(x, 10**9)\\n"'
        ),
        "an exception handler": cheat(
            body='return f"def solve(x):\\n    try:\\n        return {dict(zip(inputs, outputs))}[x]\\n'
            '    except KeyError:\\n        return 10**9\\n"'
        ),
        "goes on for ever elsewhere": cheat(
            body='return f"def solve(x):\\n    while x not in {inputs}:\\n        x + 1\\n'
            '    return {dict(zip(inputs, outputs))}[x]\\n"'
        ),
        "a function, not a text": cheat(body="return lambda x: dict(zip(inputs, outputs)).get(x, 10**9)"),
        "one table for all tasks": cheat(
            body='return "def solve(x):\\n    return {-25: 1, -6: 2}.get(x, 10**9)\\n"'
        ),
        "sorts the given inputs": cheat(body="inputs.sort()\n    return ''"),
        "more of the same inputs": cheat(remedy='"a"'),
        "more time": cheat(remedy='"c"'),
        "five": cheat(secret="5"),
        "seven": cheat(secret="7"),
        "a float": cheat(secret="6.0"),
    },
}
