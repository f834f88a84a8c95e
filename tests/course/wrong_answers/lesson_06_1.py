"""Plausible wrong answers to the exercises of lesson 06_1."""

BATCH = """def batch_of(rows, end, pad, longest):
    whole = [({prompt}, {query}) for prompt, query in rows if {fits}]
    widest = {widest}
    ids, labels, mask = [], [], []
    for prompt, query in whole:
        room = widest - len(prompt) - len(query)
        ids.append({ids})
        labels.append({labels})
        mask.append({mask})
    return {returned}
"""
BATCH_RIGHT = {
    "prompt": "list(prompt)",
    "query": "[*query, end]",
    "fits": "len(prompt) + len(query) + 1 <= longest",
    "widest": "max((len(prompt) + len(query) for prompt, query in whole), default=0)",
    "ids": "prompt + query + [pad] * room",
    "labels": "[-100] * len(prompt) + query + [-100] * room",
    "mask": "[1] * (widest - room) + [0] * room",
    "returned": "ids, labels, mask",
}


def batch(before="", **changes):
    return before + BATCH.format(**BATCH_RIGHT | changes)


KEPT = """def kept(rows, found):
    stays, asked = [], set()
    for place, (question, first, second) in enumerate(rows):
        key = {key}
        one, other = {one}, {other}
        if {broken}:
            continue
        if {empty}:
            continue
        if {disagree}:
            continue
        if key in asked:
            continue
        {stay}
        asked.add(key)
    return {returned}
"""
KEPT_RIGHT = {
    "key": '" ".join(question.lower().split())',
    "one": "found.get(first)",
    "other": "found.get(second)",
    "broken": "one is None or other is None",
    "empty": "all(value is None for row in one for value in row)",
    "disagree": "Counter(one) != Counter(other)",
    "stay": "stays.append(place)",
    "returned": "stays",
}


def kept(**changes):
    return KEPT.format(**KEPT_RIGHT | changes)


SAYS = ["stays", "does not run", "finds nothing", "stays", "disagrees", "disagrees", "stays", "finds nothing"]


def says(**changes):
    """The right prediction with some items changed: _3="stays" is the third one."""
    return f"prediction = {[changes.get(f'_{place}', one) for place, one in enumerate(SAYS, start=1)]}"


WRONG = {
    "06-1-a": {
        "the end is not learned": batch(labels="[-100] * len(prompt) + query[:-1] + [-100] * (room + 1)"),
        "there is no end": batch(query="[*query]"),
        "the prompt is learned, too": batch(labels="prompt + query + [-100] * room"),
        "the padding is learned, too": batch(labels="[-100] * len(prompt) + query + [pad] * room"),
        "the first token of the query is not learned": batch(
            labels="([-100] * (len(prompt) + 1) + query[1:]) + [-100] * room"
        ),
        "labels are shifted to the left": batch(
            labels="([-100] * len(prompt) + query)[1:] + [-100] * (room + 1)"
        ),
        "whatever equals pad is no target": batch(
            labels="[-100] * len(prompt) + [-100 if i == pad else i for i in query] + [-100] * room"
        ),
        "whatever equals pad is masked": batch(mask="[int(i != pad) for i in prompt + query + [pad] * room]"),
        "padding on the left": batch(
            ids="[pad] * room + prompt + query",
            labels="[-100] * (room + len(prompt)) + query",
            mask="[0] * room + [1] * (widest - room)",
        ),
        "long rows are cut": batch(
            fits="True",
            prompt="list(prompt)[:longest]",
            query="[*query, end][: max(0, longest - len(prompt))]",
        ),
        "one token too strict": batch(fits="len(prompt) + len(query) + 1 < longest"),
        "the end is not counted": batch(fits="len(prompt) + len(query) <= longest"),
        "longest is not looked at": batch(fits="True"),
        "filled up to longest": batch(widest="longest"),
        "not filled up": batch(
            ids="prompt + query",
            labels="[-100] * len(prompt) + query",
            mask="[1] * (len(prompt) + len(query))",
        ),
        "filled up to the longest of all rows": batch(
            widest="max((len(p) + len(q) + 1 for p, q in rows), default=0)"
        ),
        "filled up with zeros": batch(ids="prompt + query + [0] * room"),
        "the end is always 0": batch(query="[*query, 0]"),
        "zero for what is not learned": batch(labels="[0] * len(prompt) + query + [0] * room"),
        "the mask is that of the labels": batch(mask="[0] * len(prompt) + [1] * len(query) + [0] * room"),
        "the mask has no zeros": batch(mask="[1] * widest"),
        "no rows, no answer": batch(
            before="", widest="max(len(prompt) + len(query) for prompt, query in whole)"
        ),
        "only two lists": batch(returned="ids, labels"),
        "the end is written into the lists that are given": batch(
            query="(query.append(end), query)[1]", fits="len(prompt) + len(query) + 1 <= longest"
        ),
        "the library's labels": """def batch_of(rows, end, pad, longest):
    from minillm.training.batches import ExampleSet
    from minillm.course.small.sql_models import example_of

    return example_of(None, rows, end)""",
    },
    "06-1-b": {
        "a first query that does not run stays": kept(
            broken="other is None and one is not None",
            empty="one and all(v is None for r in one for v in r)",
            disagree="one is not None and Counter(one) != Counter(other)",
        ),
        "a second query that does not run stays": kept(
            broken="one is None", disagree="other is not None and Counter(one) != Counter(other)"
        ),
        "no row is something": kept(empty="one and all(value is None for row in one for value in row)"),
        "NULL is something": kept(empty="not one"),
        "zero is nothing": kept(empty="not any(value for row in one for value in row)"),
        "one NULL is enough": kept(empty="not one or any(value is None for row in one for value in row)"),
        "the first row alone is looked at": kept(empty="not one or all(value is None for value in one[0])"),
        "the first column alone is looked at": kept(empty="all(row[0] is None for row in one)"),
        "agreement is not asked for": kept(disagree="False"),
        "the order of rows counts": kept(disagree="one != other"),
        "equal rows count once": kept(disagree="set(one) != set(other)"),
        "only the number of rows": kept(disagree="len(one) != len(other)"),
        "only the first row": kept(disagree="one[:1] != other[:1]"),
        "columns in any order": kept(
            disagree="Counter(tuple(sorted(r, key=repr)) for r in one) "
            "!= Counter(tuple(sorted(r, key=repr)) for r in other)"
        ),
        "values as texts": kept(
            disagree="Counter(tuple(map(str, r)) for r in one) != Counter(tuple(map(str, r)) for r in other)"
        ),
        "the queries must be the same": kept(disagree="first != second"),
        "a question may come twice": kept(key="place"),
        "capitals count in questions": kept(key='" ".join(question.split())'),
        "blanks count in questions": kept(key="question.lower().strip()"),
        "question marks do not count": kept(key='" ".join(question.lower().split()).rstrip("?")'),
        "all blanks go": kept(key='question.strip().lower().replace(" ", "")'),
        "a question that was left out counts as asked": """def kept(rows, found):
    stays, asked = [], set()
    for place, (question, first, second) in enumerate(rows):
        key = " ".join(question.lower().split())
        one, other = found.get(first), found.get(second)
        good = one is not None and other is not None and any(v is not None for r in one for v in r)
        if good and Counter(one) == Counter(other) and key not in asked:
            stays.append(place)
        asked.add(key)
    return stays""",
        "the last of two stays": """def kept(rows, found):
    stays = {}
    for place, (question, first, second) in enumerate(rows):
        one, other = found.get(first), found.get(second)
        good = one is not None and other is not None and any(v is not None for r in one for v in r)
        if good and Counter(one) == Counter(other):
            stays[" ".join(question.lower().split())] = place
    return sorted(stays.values())""",
        "a query that is not there ends it": kept(one="found[first]", other="found[second]"),
        "the rows, not their numbers": kept(stay="stays.append(rows[place])"),
        "numbers from 1": kept(stay="stays.append(place + 1)"),
        "how many stay": kept(returned="len(stays)"),
        "the rows are sorted in place": kept(
            disagree="one.sort(key=repr) or other.sort(key=repr) or one != other"
        ),
        "the library's filter": """def kept(rows, found):
    from minillm.apps.text2sql import fault_of

    return [i for i, (_, first, second) in enumerate(rows) if fault_of(found, first, second) is None]""",
    },
    "06-1-c": {
        "luck is seen": says(_1="disagrees"),
        "a missing column finds nothing": says(_2="finds nothing"),
        "the second query saves the first": says(_2="stays"),
        "two empty answers agree": says(_3="stays"),
        "a wrong sign is seen": says(_4="disagrees"),
        "the first query alone decides": says(_5="stays"),
        "the second query's failure is the row's": says(_5="does not run"),
        "the order never counts": says(_6="stays"),
        "the order always counts": says(_7="disagrees"),
        "NULL is a find": says(_8="stays"),
        "one is missing": f"prediction = {SAYS[:-1]}",
        "None for stays": f"prediction = {[None if one == 'stays' else one for one in SAYS]}",
    },
    "06-1-d": {
        "both of a pair": "test = [0, 1, 4, 5]",
        "the signs differ": "test = [2, 4, 6, 8]",
        "the functions differ": "test = [0, 4, 6, 10]",
        "too few": "test = [1, 5, 7]",
        "one twice": "test = [1, 5, 7, 7]",
        "numbers from 1": "test = [2, 6, 8, 10]",
        "a whole database": "test = [8, 9, 10, 11]",
        "a number that is not there": "test = [1, 5, 7, 12]",
        "counted from the end": "test = [1, 5, 7, -3]",
        "a number": "test = 4",
        "the questions": "test = [BANK[i][1] for i in (1, 5, 7, 9)]",
    },
}
