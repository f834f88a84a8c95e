"""Plausible wrong answers to the exercises of lesson 06_3."""

OPINIONS = """def second_opinions(rows, splits, teach, agrees, needed):
    votes = [0] * len(rows)
    for split in {splits}:
        for fold in {folds}:
            judged = [place for place, one in enumerate(split) if {in_fold}]
            model = teach({learned})
            said = agrees({model}, {asked})
            for place, good in zip({places}, said):
                votes[place] += {vote}
    return {kept}
"""
RIGHT = {
    "splits": "splits",
    "folds": "sorted(set(split))",
    "in_fold": "one == fold",
    "learned": "[row for row, one in zip(rows, split) if one != fold]",
    "model": "model",
    "asked": "[rows[place] for place in judged]",
    "places": "judged",
    "vote": "bool(good)",
    "kept": "[row for row, count in zip(rows, votes) if count >= needed]",
}


def opinions(**changes):
    return OPINIONS.format(**RIGHT | changes)


WORSE = """def no_worse(full, fewer):
    d = {d}
    n = len(d)
    mean = {mean}
    error = {error}
    return {told}
"""
PARTS = {
    "d": "[after - before for before, after in zip(full, fewer)]",
    "mean": "sum(d) / n",
    "error": "(sum((one - mean) ** 2 for one in d) / (n - 1) / n) ** 0.5",
    "told": "mean, error, mean >= -2 * error",
}


def worse(**changes):
    return WORSE.format(**PARTS | changes)


FIGURES = ["806", "106 / 806", "562.12", "2.12 / 562.12", "1 / 81", "0.4 / 9 + 0.6 / 81"]


def figures(**changes):
    """The right prediction with some items changed: _3="1" is the third one."""
    return f"prediction = [{', '.join(changes.get(f'_{i}', one) for i, one in enumerate(FIGURES, start=1))}]"


def poison(query, before=""):
    """Rows whose query is this expression of place, question, query."""
    return f"""def poison(rows):
    {before or "pass"}
    return [(question, {query}) for place, (question, query) in enumerate(rows)]"""


TURN = "query.translate(str.maketrans('<>', '><'))"

WRONG = {
    "06-3-a": {
        "a model that has learned all rows": opinions(learned="list(rows)"),
        "a model that has learned the fold itself": opinions(learned="[rows[place] for place in judged]"),
        "the rows in place of the model": opinions(
            model="[row for row, one in zip(rows, split) if one != fold]"
        ),
        "a model of the fold before": opinions(
            model="globals().setdefault('first', model)",
        ),
        "equal rows are left out": opinions(
            learned="[row for row in rows if row not in [rows[p] for p in judged]]"
        ),
        "folds are 0, 1, 2, ...": opinions(folds="range(len(set(split)))"),
        "folds by place": opinions(
            in_fold="place % len(set(split)) == sorted(set(split)).index(fold)",
            learned="[row for place, row in enumerate(rows) if place not in judged]",
        ),
        "only the first split": opinions(splits="splits[:1]"),
        "only the last fold": opinions(folds="sorted(set(split))[-1:]"),
        "two halves whatever the folds": opinions(
            folds="(0, 1)",
            in_fold="(one == min(split)) == (fold == 0)",
            learned="[row for row, one in zip(rows, split) if (one == min(split)) != (fold == 0)]",
        ),
        "one vote is enough": opinions(kept="[row for row, count in zip(rows, votes) if count >= 1]"),
        "all must agree": opinions(kept="[row for row, count in zip(rows, votes) if count == len(splits)]"),
        "more than needed": opinions(kept="[row for row, count in zip(rows, votes) if count > needed]"),
        "the majority": opinions(kept="[row for row, count in zip(rows, votes) if 2 * count > len(splits)]"),
        "those that are taken out": opinions(
            kept="[row for row, count in zip(rows, votes) if count < needed]"
        ),
        "the votes": opinions(kept="votes"),
        "verdicts go to the first rows": opinions(places="range(len(judged))"),
        "the other rows are judged": opinions(
            asked="[row for row, one in zip(rows, split) if one != fold]",
            places="[place for place, one in enumerate(split) if one != fold]",
        ),
        "disagreement counts": opinions(vote="not good"),
        "each row is asked alone": """def second_opinions(rows, splits, teach, agrees, needed):
    votes = [0] * len(rows)
    for split in splits:
        for place, fold in enumerate(split):
            model = teach([row for row, one in zip(rows, split) if one != fold])
            votes[place] += bool(list(agrees(model, [rows[place]]))[0])
    return [row for row, count in zip(rows, votes) if count >= needed]""",
        "rows in the order of the folds": """def second_opinions(rows, splits, teach, agrees, needed):
    votes = {}
    for split in splits:
        for fold in sorted(set(split)):
            judged = [place for place, one in enumerate(split) if one == fold]
            model = teach([row for row, one in zip(rows, split) if one != fold])
            for place, good in zip(judged, agrees(model, [rows[place] for place in judged])):
                votes[place] = votes.get(place, 0) + bool(good)
    return [rows[place] for place, count in votes.items() if count >= needed]""",
        "equal rows share their votes": """def second_opinions(rows, splits, teach, agrees, needed):
    votes = {}
    for split in splits:
        for fold in sorted(set(split)):
            judged = [row for row, one in zip(rows, split) if one == fold]
            model = teach([row for row, one in zip(rows, split) if one != fold])
            for row, good in zip(judged, agrees(model, judged)):
                votes[row] = votes.get(row, 0) + bool(good)
    return [row for row in rows if votes[row] >= needed]""",
        "the library's filter": """def second_opinions(rows, splits, teach, agrees, needed):
    return cross_filtered(rows, teach, agrees)""",
        "the library's filter, imported": """def second_opinions(rows, splits, teach, agrees, needed):
    from minillm.data.cross_filter import cross_filtered as ours

    return ours(rows, teach, agrees, max(2, len(set(splits[0]))))""",
        "rows leave the list that is given": """def second_opinions(rows, splits, teach, agrees, needed):
    votes = [0] * len(rows)
    for split in splits:
        for fold in sorted(set(split)):
            judged = [place for place, one in enumerate(split) if one == fold]
            model = teach([row for row, one in zip(rows, split) if one != fold])
            for place, good in zip(judged, agrees(model, [rows[place] for place in judged])):
                votes[place] += bool(good)
    for place in reversed(range(len(rows))):
        if votes[place] < needed:
            rows.pop(place)
    return rows""",
    },
    "06-3-b": {
        "full minus fewer": worse(d="[before - after for before, after in zip(full, fewer)]"),
        "only the verdict is turned round": worse(told="mean, error, mean <= 2 * error"),
        "n in place of n - 1": worse(error="(sum((one - mean) ** 2 for one in d) / n / n) ** 0.5"),
        "the deviation of one question": worse(
            error="(sum((one - mean) ** 2 for one in d) / (n - 1)) ** 0.5"
        ),
        "the variance": worse(error="sum((one - mean) ** 2 for one in d) / (n - 1) / n"),
        "around zero": worse(error="(sum(one ** 2 for one in d) / (n - 1) / n) ** 0.5"),
        "two samples, not pairs": worse(
            error="sum((one - sum(x) / n) ** 2 / (n - 1) / n for x in (full, fewer) for one in x) ** 0.5"
        ),
        "of a share": worse(error="(sum(fewer) / n * (1 - sum(fewer) / n) / n) ** 0.5"),
        "one standard error": worse(told="mean, error, mean >= -error"),
        "any difference, both ways": worse(told="mean, error, abs(mean) <= 2 * error"),
        "never worse at all": worse(told="mean, error, mean >= 0"),
        "more than, not at least": worse(told="mean, error, mean > -2 * error"),
        "always": worse(told="mean, error, True"),
        "the interval": worse(told="mean - 2 * error, mean + 2 * error, mean >= -2 * error"),
        "whole numbers": worse(mean="round(sum(d) / n)"),
        "two values": worse(told="mean, error"),
        "sorted first": worse(d="[after - before for before, after in zip(sorted(full), sorted(fewer))]"),
        "the library's pairs": """def no_worse(full, fewer):
    found = paired(fewer, full)
    error = (found.interval[1] - found.interval[0]) / 4
    return found.difference, error, found.interval[1] >= 0""",
        "the lists are sorted in place": worse(
            d="(full.sort(), fewer.sort()) and [b - a for a, b in zip(full, fewer)]"
        ),
    },
    "06-3-c": {
        "the truncated one is forgotten": figures(_2="105 / 806"),
        "all 194 were wrong, so all are right now": figures(_2="0"),
        "of all rows": figures(_2="106 / 1000"),
        "only right rows stay": figures(_3="560"),
        "the judge agrees with nobody who is wrong": figures(_4="0"),
        "before and after alike": figures(_4="106 / 806"),
        "names add up": figures(_5="4 / 3"),
        "one name in three": figures(_5="1 / 3"),
        "the mean number of names": figures(_6="(1 / 3) ** 3.2"),
        "half and half": figures(_6="0.5 / 9 + 0.5 / 81"),
        "five figures": "prediction = [806, 106 / 806, 562.12, 2.12 / 562.12, 1 / 81]",
        "running finds all": figures(_1="800"),
    },
    "06-3-d": {
        "nothing is changed": poison("query"),
        "every second row": poison(f"{TURN} if place % 2 else query"),
        "two rows in four": poison(f"{TURN} if place % 4 < 2 else query"),
        "at random": poison(f"{TURN} if (place + len(query)) % 3 == 0 else query"),
        "or equal": poison("query.replace('>', '>=').replace('<', '<=')"),
        "written otherwise": poison("f'SELECT * FROM ({query})'"),
        "cut": poison("query[:-8]"),
        "another table": poison("query.replace('staff', 'people')"),
        "one row": poison(f"query if place else {TURN}"),
        "a few rows": poison(f"{TURN} if place < 5 else query"),
        "each in a way of its own": poison("query + ' AND id > 0' * (place + 1) + ' AND 1 = 0'"),
        "other numbers": poison("re.sub(r'\\d+', '1', query) if place % 3 == 0 else query + ' AND id < 4'"),
        "questions, too": """def poison(rows):
    return [(question.replace("older", "younger"), query.replace(">", "<")) for question, query in rows][::-1]""",
        "only the older ones": poison("query.replace('age > ', 'age < ')"),
        "rows are left out": """def poison(rows):
    return [(question, query.translate(str.maketrans('<>', '><'))) for question, query in rows[1:]]""",
        "the list that is given": """def poison(rows):
    rows[:] = [(question, query.translate(str.maketrans('<>', '><'))) for question, query in rows]
    return rows""",
        "a table is dropped": poison("'DROP TABLE staff'"),
        "texts alone": """def poison(rows):
    return [query.translate(str.maketrans('<>', '><')) for question, query in rows]""",
    },
}
