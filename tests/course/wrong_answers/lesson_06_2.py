"""Plausible wrong answers to the exercises of lesson 06_2."""

SAME = """def same_answer(found, expected, ordered):
    if {lengths}:
        return False
    if not found:
        return {empty}
    if {widths}:
        return False
    for order in {orders}:
        rows = {rows}
        if {equal}:
            return True
    return {last}
"""
RIGHT = {
    "lengths": "len(found) != len(expected)",
    "empty": "True",
    "widths": "len(found[0]) != len(expected[0])",
    "orders": "itertools.permutations(range(len(found[0])))",
    "rows": "[tuple(row[i] for i in order) for row in found]",
    "equal": "rows == expected if ordered else Counter(rows) == Counter(expected)",
    "last": "False",
}


def same(before="", **changes):
    return before + SAME.format(**RIGHT | changes)


VERDICTS = ["right", "wrong", "wrong", "right", "right", "wrong", "right", "wrong"]


def verdicts(**changes):
    """The right prediction with some items changed: _3="right" is the third one."""
    return f"prediction = {[changes.get(f'_{place}', one) for place, one in enumerate(VERDICTS, start=1)]}"


TRUE = """def true_accuracy(said, checked):
    wrong = [one for one, right in checked if not right]
    good = [one for one, right in checked if right]
    a = {a}
    b = {b}
    q = {q}
    return {p}
"""
PARTS = {
    "a": "sum(wrong) / len(wrong)",
    "b": "1 - sum(good) / len(good)",
    "q": "sum(said) / len(said)",
    "p": "min(1.0, max(0.0, (q - a) / (1 - a - b)))",
}


def true(**changes):
    return TRUE.format(**PARTS | changes)


WRONG = {
    "06-2-a": {
        "never asks for an order": same(equal="Counter(rows) == Counter(expected)"),
        "always asks for the order": same(equal="rows == expected"),
        "asks for the order where none is asked": same(
            equal="Counter(rows) == Counter(expected) if ordered else rows == expected"
        ),
        "equal rows count once": same(equal="rows == expected if ordered else set(rows) == set(expected)"),
        "sets, and the lengths are not looked at": same(
            lengths="False", equal="rows == expected if ordered else set(rows) == set(expected)"
        ),
        "columns as they come": same(orders="[range(len(found[0]))]"),
        "columns as they come or turned round": same(
            orders="[range(len(found[0])), range(len(found[0]))[::-1]]"
        ),
        "only neighbours are swapped": same(
            orders="[[*range(i), i + 1, i, *range(i + 2, len(found[0]))] for i in range(len(found[0]) - 1)] "
            "+ [range(len(found[0]))]"
        ),
        "every row in an order of its own": """def same_answer(found, expected, ordered):
    found, expected = ([tuple(sorted(row, key=repr)) for row in rows] for rows in (found, expected))
    return found == expected if ordered else Counter(found) == Counter(expected)""",
        "no rows are always wrong": same(empty="False"),
        "the first row is enough": same(equal="rows[0] == expected[0]"),
        "the last row is not looked at": same(
            equal="rows[:-1] == expected[:-1] if ordered else Counter(rows[:-1]) == Counter(expected[:-1])"
        ),
        "columns as sets": """def same_answer(found, expected, ordered):
    if len(found) != len(expected):
        return False
    return sorted(map(repr, map(Counter, zip(*found)))) == sorted(map(repr, map(Counter, zip(*expected))))""",
        "NULL is left out": same(
            rows="[tuple(row[i] for i in order if row[i] is not None) for row in found]",
            equal="(lambda gold: rows == gold if ordered else Counter(rows) == Counter(gold))("
            "[tuple(v for v in row if v is not None) for row in expected])",
        ),
        "more columns do not matter": same(
            widths="len(found[0]) < len(expected[0])",
            orders="itertools.permutations(range(len(found[0])), len(expected[0]))",
        ),
        "only the lengths": "def same_answer(found, expected, ordered):\n    return len(found) == len(expected)",
        "everything is right": same(last="True"),
        "the lists are sorted in place": """def same_answer(found, expected, ordered):
    if len(found) != len(expected) or found and len(found[0]) != len(expected[0]):
        return False
    if not ordered:
        found.sort(key=repr), expected.sort(key=repr)
    if not found:
        return True
    for order in itertools.permutations(range(len(found[0]))):
        rows = [tuple(row[i] for i in order) for row in found]
        if rows == expected if ordered else Counter(rows) == Counter(expected):
            return True
    return False""",
        "rows are used up by the first order that is tried": """def same_answer(found, expected, ordered):
    if len(found) != len(expected) or found and len(found[0]) != len(expected[0]):
        return False
    left = list(expected)
    for order in itertools.permutations(range(len(found[0]) if found else 0)):
        rows = [tuple(row[i] for i in order) for row in found]
        if ordered and rows == expected:
            return True
        for row in rows:
            if row in left:
                left.remove(row)
    return not left and not ordered""",
        "the library's own": """def same_answer(found, expected, ordered):
    from minillm.apps.text2sql import same_rows

    return same_rows(found, expected, ordered)""",
        "the library's own, by its file": """def same_answer(found, expected, ordered):
    import importlib

    return importlib.import_module("minillm.apps.text2sql.execution").same_rows(found, expected, ordered)""",
        "what returns is no verdict": same(last="None"),
    },
    "06-2-b": {
        "swapped columns are wrong": verdicts(_1="wrong"),
        "DISTINCT does not matter": verdicts(_2="right"),
        "an order that is asked does not matter": verdicts(_3="right"),
        "an order that is not asked matters": verdicts(_4="wrong"),
        "no rows are wrong": verdicts(_5="wrong"),
        "NULL is not Ulm": verdicts(_6="right"),
        "another way is wrong": verdicts(_7="wrong"),
        "COUNT(city) counts all": verdicts(_8="right"),
        "one is missing": f"prediction = {VERDICTS[:-1]}",
        "True and False": "prediction = [True, False, False, True, True, False, True, False]",
    },
    "06-2-c": {
        "the gold query itself": 'lucky = "SELECT name FROM people WHERE age > 30"',
        "the gold query in another way": 'lucky = "SELECT name FROM people WHERE NOT age <= 30"',
        "no query": 'lucky = "people who are older than 30"',
        "it asks no table": "lucky = \"SELECT 'Ann' UNION ALL SELECT 'Cy' -- people\"",
        "a column that is called people": "lucky = \"SELECT 'Ann' AS people UNION ALL SELECT 'Cy'\"",
        "a table people of its own": "lucky = \"WITH people(name) AS (VALUES ('Ann'), ('Cy')) SELECT * FROM people\"",
        "another answer": 'lucky = "SELECT name FROM people WHERE age < 30"',
        "a column more": "lucky = \"SELECT name, city FROM people WHERE city = 'Ulm'\"",
        "equal in one of the others": 'lucky = "SELECT name FROM people WHERE age > 31"',
        "it does not run elsewhere": 'lucky = "SELECT name FROM people WHERE age > 30; DROP TABLE people"',
        "a list": "lucky = [\"SELECT name FROM people WHERE city = 'Ulm'\"]",
    },
    "06-2-d": {
        "the judge is believed": true(p="q"),
        "its errors are swapped": true(p="min(1.0, max(0.0, (q - b) / (1 - a - b)))"),
        "false yes only": true(p="min(1.0, max(0.0, (q - a) / (1 - a)))"),
        "false no only": true(p="min(1.0, max(0.0, q / (1 - b)))"),
        "errors of all items, not of each kind": true(
            a="sum(wrong) / len(checked)", b="(len(good) - sum(good)) / len(checked)"
        ),
        "not cut to 0 and 1": true(p="(q - a) / (1 - a - b)"),
        "cut at 0 only": true(p="max(0.0, (q - a) / (1 - a - b))"),
        "the accuracy of the sample": "def true_accuracy(said, checked):\n"
        "    return sum(right for _, right in checked) / len(checked)",
        "a share of agreement": "def true_accuracy(said, checked):\n"
        "    return sum(one == right for one, right in checked) / len(checked) * sum(said) / len(said)",
        "in per cent": true(p="100 * min(1.0, max(0.0, (q - a) / (1 - a - b)))"),
        "the library's own": """def true_accuracy(said, checked):
    from minillm.apps.text2sql.judge import agreement, corrected

    known = agreement([one for one, _ in checked], [right for _, right in checked])
    return corrected(sum(said) / len(said), known.false_yes, known.false_no)""",
        "the sample is used up": """def true_accuracy(said, checked):
    wrong, good = [], []
    while checked:
        one, right = checked.pop()
        (good if right else wrong).append(one)
    a, b = sum(wrong) / len(wrong), 1 - sum(good) / len(good)
    return min(1.0, max(0.0, (sum(said) / len(said) - a) / (1 - a - b)))""",
    },
}
