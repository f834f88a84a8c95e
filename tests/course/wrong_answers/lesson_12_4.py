"""Plausible wrong answers to the exercises of lesson 12_4."""

PASSES = """def passes(filter, metadata):
    def kind(value):
        return {kind}

    def among(value, wanted):
        values = {values}
        return any({equal} for one in values for other in wanted)

    def holds(field, name, operand):
        if name == "$exists" or field not in metadata:
            return {absent}
        value = metadata[field]
        if name in ("$eq", "$ne"):
            return among(value, [operand]) == (name == "$eq")
        if name in ("$in", "$nin"):
            return {isin}
        if {incomparable}:
            return False
        return {{"$gt": {gt}, "$gte": {gte}, "$lt": value < operand, "$lte": value <= operand}}[name]

    for key, value in filter.items():
        if key in ("$and", "$or"):
            good = {combine}
        else:
            conditions = {conditions}
            good = {every}(holds(key, name, operand) for name, operand in conditions.items())
        if {decide}:
            return {early}
    return {end}
"""
RIGHT = {
    "kind": '"bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"',
    "values": "value if isinstance(value, list) else [value]",
    "equal": "kind(one) == kind(other) and one == other",
    "absent": 'name == "$exists" and (field in metadata) == operand',
    "isin": 'among(value, operand) == (name == "$in")',
    "incomparable": 'isinstance(value, list) or kind(value) != "number"',
    "gt": "value > operand",
    "gte": "value >= operand",
    "combine": '(all if key == "$and" else any)(passes(one, metadata) for one in value)',
    "conditions": 'value if isinstance(value, dict) else {"$eq": value}',
    "every": "all",
    "decide": "not good",
    "early": "False",
    "end": "True",
}

RECOVER = """def recover(log):
    state, batch = {{}}, []
    while {more}:
        line, _, log = log.partition(b"\\n")
        if {bad}:
            {stop}
        change = json.loads(line[9:])
        if change[0] != "commit":
            {take}
            continue
        if {short}:
            break
        for kind, id, *value in batch:
            if kind == "put":
                {put}
            else:
                {delete}
        batch = {emptied}
    return {result}
"""
RECOVER_RIGHT = {
    "more": 'b"\\n" in log',
    "bad": 'line[:9] != b"%08x " % zlib.crc32(line[9:])',
    "stop": "break",
    "take": "batch.append(change)",
    "short": "change[1] != len(batch)",
    "put": "state[id] = value[0]",
    "delete": "state.pop(id, None)",
    "emptied": "[]",
    "result": "state",
}


def passes(**changes):
    return PASSES.format(**RIGHT | changes)


def recover(**changes):
    return RECOVER.format(**RECOVER_RIGHT | changes)


WRONG = {
    "12-4-a": {
        "True is 1": passes(kind='"text" if isinstance(value, str) else "number"'),
        "equal as Python says": passes(equal="one == other"),
        "equal as texts": passes(equal="str(one) == str(other)"),
        "1 is not 1.0": passes(equal="type(one) is type(other) and one == other"),
        "a missing field differs": passes(
            absent='name in ("$ne", "$nin") if name != "$exists" else (field in metadata) == operand'
        ),
        "a missing field satisfies $ne alone": passes(
            absent='name == "$ne" if name != "$exists" else (field in metadata) == operand'
        ),
        "$exists ignores its operand": passes(absent='name == "$exists" and field in metadata'),
        "a missing field satisfies everything": passes(
            absent='(field in metadata) == operand if name == "$exists" else True'
        ),
        "a value that is false does not exist": passes(
            absent='name == "$exists" and bool(metadata.get(field)) == operand'
        ),
        "a list is one value": passes(values="[value]"),
        "the first text of a list": passes(values="value[:1] if isinstance(value, list) else [value]"),
        "a text is a list of letters": passes(values="value if isinstance(value, (list, str)) else [value]"),
        "$ne of a list: any that differs": passes().replace(
            'return among(value, [operand]) == (name == "$eq")',
            'if name == "$ne":\n                values = value if isinstance(value, list) else [value]\n'
            "                return any(kind(o) != kind(operand) or o != operand for o in values)\n"
            "            return among(value, [operand])",
        ),
        "$in wants every text": passes(
            isin="all(among(one, operand) for one in (value if isinstance(value, list) else [value]))"
            ' == (name == "$in")'
        ),
        "$nin is $in": passes(isin="among(value, operand)"),
        "$in compares as Python does": passes(
            isin='any(one in operand for one in (value if isinstance(value, list) else [value])) == (name == "$in")'
        ),
        "$in compares as texts": passes(
            isin="(any(one in operand for one in value) if isinstance(value, list) else "
            'str(value) in map(str, operand)) == (name == "$in")'
        ),
        "$or beside $and: the last one counts": passes().replace(
            "    def kind",
            """    if {"$and", "$or"} <= filter.keys():
        return any(passes(one, metadata) for one in filter["$or"])

    def kind""",
            1,
        ),
        "filters stand in filters twice at most": passes()
        .replace("filter, metadata):", "filter, metadata, depth=0):", 1)
        .replace("passes(one, metadata)", "depth > 1 or passes(one, metadata, depth + 1)"),
        "compares bools": passes(incomparable="isinstance(value, (list, str))"),
        "compares texts as numbers": passes(incomparable="isinstance(value, (list, bool))").replace(
            "        return {",
            "        value = float(value) if str(value).isdigit() else -9\n        return {",
        ),
        "$gt is $gte": passes(gt="value >= operand"),
        "$gte is $gt": passes(gte="value > operand"),
        "$lt is $lte": passes().replace('"$lt": value < operand', '"$lt": value <= operand'),
        "$lte is $lt": passes().replace('"$lte": value <= operand', '"$lte": value < operand'),
        "whole numbers only": passes(gt="int(value) > operand"),
        "$or is $and": passes(combine="all(passes(one, metadata) for one in value)"),
        "$and is $or": passes(combine="any(passes(one, metadata) for one in value)"),
        "only the first of $or": passes(
            combine='all(passes(one, metadata) for one in value) if key == "$and" else passes(value[0], metadata)'
        ),
        "one operator of several": passes(every="any"),
        "the first operator alone": passes(
            conditions='dict(list(value.items())[:1]) if isinstance(value, dict) else {"$eq": value}'
        ),
        "one entry of several": passes(decide="good", early="True", end="not filter"),
        "the first entry alone": passes(decide="True", early="good"),
        "nothing passes {}": passes(end="bool(filter)"),
        "1 and 0": passes(early="0", end="1"),
        "empties the filter": passes().replace("    return True\n", "    filter.clear()\n    return True\n"),
        "a bare value is $in": passes(conditions='value if isinstance(value, dict) else {"$in": value}'),
        "the library's answer": """def passes(filter, metadata):
    from minillm.search.store.filters import matches, parse_filter

    return matches(parse_filter(filter), metadata)""",
        "the library's answer, in a roundabout way": """def passes(filter, metadata):
    module = __import__("importlib").import_module("minillm.search.store.filters")
    return module.matches(module.parse_filter(filter), metadata)""",
        "the library's index": """def passes(filter, metadata):
    from minillm.search.store import inverted, parse_filter

    index = inverted.MetadataIndex()
    index.put(0, metadata)
    return 0 in index.select(parse_filter(filter))""",
    },
    "12-4-b": {
        "no checksums": recover(bad="not line[9:]"),
        "trusts the first digits": recover(bad='line[:4] != b"%08x" % zlib.crc32(line[9:]) [:4]').replace(
            'b"%08x" % zlib.crc32(line[9:]) [:4]', '(b"%08x" % zlib.crc32(line[9:]))[:4]'
        ),
        "any byte for the space": recover(bad='line[:8] != b"%08x" % zlib.crc32(line[9:])'),
        "capital digits count": recover(bad='line[:9].lower() != b"%08x " % zlib.crc32(line[9:])'),
        "digits as Python reads them": recover(
            bad='line[8:9] != b" " or read(line[:8]) != zlib.crc32(line[9:])'
        ).replace(
            "    state, batch",
            """    def read(digits):
        try:
            return int(digits, 16)
        except ValueError:
            return -1

    state, batch""",
            1,
        ),
        "zeros in front may lack": recover(
            bad='not line[9:] or line.partition(b" ")[0].rjust(8, b"0") != '
            'b"%08x" % zlib.crc32(line.partition(b" ")[2])'
        ).replace("json.loads(line[9:])", 'json.loads(line.partition(b" ")[2])'),
        "passes over a damaged line": recover(stop="continue"),
        "gives up on damage": recover(stop='raise ValueError("damaged")'),
        "nothing after damage, and nothing before": recover(stop="return {}"),
        "the last line needs no end": recover(more="log"),
        "applies changes at once": recover(
            take="batch.append(change)\n            state.pop(change[1], None)\n"
            '            state.update({change[1]: change[2]} if change[0] == "put" else {})'
        ),
        "ignores n": recover(short="False"),
        "n may be smaller": recover(short="change[1] > len(batch)"),
        "n may be larger": recover(short="change[1] < len(batch)"),
        "forgets to empty the batch": recover(emptied="batch", short="change[1] > len(batch)"),
        "a delete of nothing fails": recover(delete="del state[id]"),
        "the first put wins": recover(put="state.setdefault(id, value[0])"),
        "never deletes": recover(delete="pass"),
        "keeps None": recover(delete="state[id] = None"),
        "deletes first": recover().replace(
            "for kind, id, *value in batch:", "for kind, id, *value in sorted(batch, key=lambda c: c[0]):"
        ),
        "values in lists": recover(put="state[id] = value"),
        "the last batch alone": recover().replace(
            "        for kind, id", "        state = {}\n        for kind, id"
        ),
        "changes without a commit, too": recover(
            result="state | {c[1]: c[2] for c in batch if c[0] == 'put'}"
        ),
        "a list of pairs": recover(result="list(state.items())"),
        "decodes the whole log first": recover(more='"\\n" in log').replace(
            "    state, batch = {}, []", '    state, batch, log = {}, [], log.decode("utf-8")'
        ),
        "a lying dict": """class Lying(dict):
    def __eq__(self, other):
        return True

    __hash__ = None


def recover(log):
    return Lying()""",
        "splits at any line end": """def recover(log):
    state, batch = {}, []
    for line in log.splitlines():
        if line[:9] != b"%08x " % zlib.crc32(line[9:]):
            break
        kind, *rest = json.loads(line[9:])
        if kind != "commit":
            batch.append((kind, *rest))
        elif rest[0] == len(batch):
            for kind, id, *value in batch:
                state.pop(id, None)
                state.update({id: value[0]} if kind == "put" else {})
            batch = []
    return state""",
    },
    "12-4-c": {
        "nothing is written": 'story = ([["first"], ["a", "b"]], 1)',
        "all is written": 'story = ([["first"], ["a", "b", "c", "d"]], 9)',
        "the power goes before the first write": 'story = ([["first"], ["a", "b", "c", "d"]], 0)',
        "lost, not half": 'story = ([["first"], ["second"], ["third"]], 0)',
        "half, not lost": 'story = ([["a", "b", "c", "d", "e"]], 1)',
        "the half one was acknowledged": 'story = ([["a", "b", "c", "d"], ["e"]], 9)',
        "an id twice": 'story = ([["a"], ["a", "b", "c", "d"]], 1)',
        "no ids": 'story = ([[], ["a", "b", "c", "d"]], 1)',
        "numbers as ids": "story = ([[0], [1, 2, 3, 4]], 1)",
        "a large batch": 'story = ([["first"], list("abcdefghij")], 1)',
        "many batches": 'story = ([["x"], ["y"], ["z"], ["u"], ["v"], ["w"], ["a", "b", "c", "d"]], 4)',
        "half a moment": 'story = ([["first"], ["a", "b", "c", "d"]], 0.5)',
        "before time": 'story = ([["first"], ["a", "b", "c", "d"]], -1)',
        "moment first": 'story = (1, [["first"], ["a", "b", "c", "d"]])',
    },
    "12-4-d": {
        "a text is compared": "counts = [3, 3, 1, 1, 3, 1]",
        "a missing year differs": "counts = [2, 4, 1, 1, 3, 1]",
        "a text equals a number": "counts = [2, 2, 1, 1, 3, 1]",
        "2024.0 is another number": "counts = [2, 4, 1, 1, 3, 1]",
        "1 is True": "counts = [2, 3, 2, 1, 3, 1]",
        "missing tags differ": "counts = [2, 3, 1, 3, 3, 1]",
        "an empty list is missing": "counts = [2, 3, 1, 0, 3, 1]",
        "False does not exist": "counts = [2, 3, 1, 1, 2, 1]",
        "$or counts twice": "counts = [2, 3, 1, 1, 4, 1]",
        "or between conditions": "counts = [2, 3, 1, 1, 3, 2]",
        "lying numbers": """class Lying(int):
    __eq__ = lambda self, other: True
    __hash__ = int.__hash__


counts = [Lying(9)] * 6""",
        "five numbers": "counts = [2, 3, 1, 1, 3]",
        "shares": "counts = [0.4, 0.6, 0.2, 0.2, 0.6, 0.2]",
    },
}
