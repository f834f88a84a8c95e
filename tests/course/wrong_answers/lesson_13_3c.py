"""Plausible wrong answers to the exercises of lesson 13_3c."""

AUDIT = """def audit(statements, contexts, says, threshold):
    known, said = {{}}, []
    {before}
    for s in statements:
        if s not in known:
            known[s] = {verdict}
        said.append(known[s])
    share = {share}
    rest = {rest}
    return {result}
"""
OF_AUDIT = {
    "before": "pass",
    "verdict": "any([says(s, c) >= threshold for c in contexts])",
    "share": "sum(said) / len(said)",
    "rest": "[s for s, yes in zip(statements, said) if not yes]",
    "result": "share, rest",
}

PRECISION = """def precision(useful, k):
    hits, total = 0, 0.0
    {before}
    for place, one in enumerate({rows}, start=1):
        hits += one
        {add}
    return {result}
"""
OF_PRECISION = {
    "before": "pass",
    "rows": "useful[:k]",
    "add": "total += one * hits / place",
    "result": "total / hits if hits else 0.0",
}


def audit(**changes):
    return AUDIT.format(**OF_AUDIT | changes)


def precision(**changes):
    return PRECISION.format(**OF_PRECISION | changes)


def fooled(facts, lie, truth):
    return f"fooled = ({facts!r}, {lie!r}, {truth!r})"


CHAIN = ["Ana is older than Ben.", "Ben is older than Cem."]
LIE, TRUTH = "Cem is older than Ana.", "Cem is younger than Ana."

WRONG = {
    "13-3c-a": {
        "more than the threshold": audit(verdict="any([says(s, c) > threshold for c in contexts])"),
        "one half": audit(verdict="any([says(s, c) >= 0.5 for c in contexts])"),
        "every context must say it": audit(verdict="all([says(s, c) >= threshold for c in contexts])"),
        "all of them, none is none": audit(
            verdict="bool(contexts) and all([says(s, c) >= threshold for c in contexts])"
        ),
        "the mean of the contexts": audit(
            verdict="bool(contexts) and sum(says(s, c) for c in contexts) / len(contexts) >= threshold"
        ),
        "the sum of the contexts": audit(
            verdict="sum(says(s, c) for c in contexts) >= threshold and bool(contexts)"
        ),
        "only the first context": audit(verdict="any([says(s, c) >= threshold for c in contexts[:1]])"),
        "only the last context": audit(verdict="any([says(s, c) >= threshold for c in contexts[-1:]])"),
        "the contexts joined": audit(verdict="says(s, ' '.join(contexts)) >= threshold"),
        "turned round": audit(verdict="any([says(c, s) >= threshold for c in contexts])"),
        "fails without contexts": audit(verdict="max([says(s, c) for c in contexts]) >= threshold"),
        "the mean of the scores": audit(verdict="max([says(s, c) for c in contexts], default=0.0)"),
        "those that are not said": audit(share="1 - sum(said) / len(said)"),
        "how many": audit(share="sum(said)"),
        "in percent": audit(share="100 * sum(said) / len(said)"),
        "a verdict": audit(share="float(all(said))"),
        "any of them": audit(share="float(any(said))"),
        "by the contexts": audit(share="sum(said) / max(1, len(contexts))"),
        "a repeated one counts once": audit(share="sum(known.values()) / len(known)"),
        "a repeated one is named once": audit(rest="[s for s, yes in known.items() if not yes]"),
        "those that are said": audit(rest="[s for s, yes in zip(statements, said) if yes]"),
        "all statements": audit(rest="list(statements)"),
        "places": audit(rest="[i for i, yes in enumerate(said) if not yes]"),
        "the first one only": audit(rest="[s for s, yes in zip(statements, said) if not yes][:1]"),
        "sorted": audit(rest="sorted([s for s, yes in zip(statements, said) if not yes], reverse=True)"),
        "only the share": audit(result="share"),
        "the other order": audit(result="rest, share"),
        "asks twice": audit(before="[says(s, c) for s in statements for c in contexts]"),
        "empties the list": audit(result="(share, rest, statements.clear())[:2]"),
        "turns the contexts round": audit(before="contexts.reverse()"),
        "the library": """def audit(statements, contexts, says, threshold):
    support = lambda s, cs: float(any(says(s, c) >= threshold for c in cs))
    return faithfulness(statements, contexts, support), []""",
    },
    "13-3c-b": {
        "precision at k": precision(result="hits / k"),
        "precision at the end": precision(result="hits / len(useful[:k]) if useful else 0.0"),
        "the reciprocal rank": precision(add="total = total or one / place", result="total"),
        "every place": precision(add="total += hits / place"),
        "divided by k": precision(result="total / k"),
        "divided by the length": precision(result="total / len(useful) if useful else 0.0"),
        "divided by all useful ones": precision(result="total / sum(useful) if any(useful) else 0.0"),
        "k is ignored": precision(rows="useful"),
        "one too many": precision(rows="useful[: k + 1]"),
        "one too few": precision(rows="useful[: k - 1]"),
        "from the end": precision(rows="useful[::-1][:k]"),
        "the sum": precision(result="total"),
        "without counting": precision(add="total += one / place"),
        "places from zero": precision(add="total += one * hits / max(1, place - 1)"),
        "fails where none is useful": precision(result="total / hits"),
        "none is one": precision(result="total / hits if hits else 1.0"),
        "none is nan": precision(result="total / hits if hits else float('nan')"),
        "sorts first": precision(before="useful = sorted(useful, reverse=True)"),
        "turns the list round": precision(before="useful.append(False)"),
        "rounded": precision(result="round(total / hits, 2) if hits else 0.0"),
        "the library": """def precision(useful, k):
    return context_precision(useful[:k]) if useful else 0.0""",
    },
    "13-3c-c": {
        "a truth for a lie": fooled(CHAIN, "Ana is older than Cem.", TRUTH),
        "two lies": fooled(CHAIN, LIE, "Ana is younger than Cem."),
        "one fact is enough": fooled(CHAIN, "Ben is older than Ana.", TRUTH),
        "one fact is enough for the truth": fooled(CHAIN, LIE, "Ben is younger than Ana."),
        "words support both": fooled(CHAIN, LIE, "Ana is older than Cem."),
        "a new word in the lie": fooled(CHAIN, "Ana is younger than Cem.", TRUTH),
        "an unknown name": fooled(CHAIN, "Dan is older than Ana.", TRUTH),
        "a circle": fooled([*CHAIN, "Cem is older than Ana."], LIE, TRUTH),
        "one fact": fooled(CHAIN[:1], LIE, TRUTH),
        "another form": fooled(CHAIN, "Cem is not younger than Ana.", TRUTH),
        "nothing": fooled([], "", ""),
    },
    "13-3c-d": {
        "inventions": "prediction = [0.25, 0.583, 0.5, 0.75, 1.0]",
        "precision of the set": "prediction = [0.75, 0.667, 0.5, 0.75, 1.0]",
        "the reciprocal rank": "prediction = [0.75, 0.5, 0.5, 0.75, 1.0]",
        "all is found": "prediction = [0.75, 0.583, 1.0, 0.75, 1.0]",
        "right more often than not": "prediction = [0.75, 0.583, 0.5, 0.5, 1.0]",
        "the writer's fault": "prediction = [0.75, 0.583, 0.5, 0.75, 0.0]",
        "four": "prediction = [0.75, 0.583, 0.5, 0.75]",
    },
}
