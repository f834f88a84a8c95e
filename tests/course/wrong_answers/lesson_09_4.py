"""Plausible wrong answers to the exercises of lesson 09_4."""

OWN = """def own_times(spans):
    found = {{}}
    for id, _, start, end in {spans}:
        own, at = {begin}
        for begin, stop in {children}:
            {add}
            {move}
        found[id] = {value}
    return {result}
"""
OWN_RIGHT = {
    "spans": "spans",
    "begin": "0, start",
    "children": "sorted((b, e) for _, parent, b, e in spans if parent == id)",
    "add": "own += max(0, min(begin, end) - at)",
    "move": "at = max(at, stop)",
    "value": "own + max(0, end - at)",
    "result": "found",
}

MASK = """def masked(value):
    if isinstance(value, str):
        return re.sub({form}, {mark}, value)
    if isinstance(value, list):
        {items}
    if not isinstance(value, dict):
        return value
    secret = {{{names}}}
    {before}
    return {{
        {key}: "[masked]" if {named} else {other} for key, one in value.items() {only}
    }}
"""
MASK_RIGHT = {
    "form": 'r"(?<![^\\W_])sk-[A-Za-z0-9_-]{16,}"',
    "mark": '"[masked]"',
    "items": "return [masked(one) for one in value]",
    "names": '"password", "apikey", "token", "authorization"',
    "before": "",
    "key": "key",
    "named": 're.sub("[_ -]", "", key).lower() in secret',
    "other": "masked(one)",
    "only": "",
}


def own(**change):
    return OWN.format(**OWN_RIGHT | change)


def mask(**change):
    return MASK.format(**MASK_RIGHT | change)


WRONG = {
    "09-4-a": {
        "the whole time": own(value="end - start"),
        "overlaps are counted twice": own(
            children="[]", value="end - start - sum(e - b for _, p, b, e in spans if p == id)"
        ),
        "never below zero, still twice": own(
            children="[]", value="max(0, end - start - sum(e - b for _, p, b, e in spans if p == id))"
        ),
        "children are not cut at the end": own(add="own += max(0, begin - at)"),
        "children are not cut at the begin": own(add="own += min(begin, end) - at"),
        "the time after the last child is forgotten": own(value="own"),
        "a last child that is too long makes it less": own(value="own + end - at"),
        "children in the order of the list": own(
            children="[(b, e) for _, parent, b, e in spans if parent == id]"
        ),
        "the latest begin first": own(
            children="sorted(((b, e) for _, parent, b, e in spans if parent == id), reverse=True)"
        ),
        "a child within another one moves back": own(move="at = stop"),
        "from the first child to the last": own(
            children="[]",
            value="end - start - max([e for _, p, b, e in spans if p == id], default=0)"
            " + min([b for _, p, b, e in spans if p == id], default=0)",
        ),
        "grandchildren, too": own(
            children="sorted((b, e) for i, parent, b, e in spans if i != id and b >= start and e <= end)"
        ),
        "first spans only": own(spans="[one for one in spans if one[1] is None]"),
        "no span without a parent in the list": own(
            spans="[one for one in spans if one[1] is None or one[1] in {i for i, *_ in spans}]"
        ),
        "in seconds": own(value="(own + max(0, end - at)) / 1000"),
        "a list": own(result="list(found.values())"),
        "sorts what it is given": "def own_times(spans):\n    spans.sort(key=lambda one: one[2])\n"
        + own().split("\n", 1)[1],
        "one by one": own(
            children="[]",
            value="sum(not any(p == id and b <= ms < e for _, p, b, e in spans) "
            "for ms in range(start, min(end, start + 10**4)))",
        ),
        "the library's, by another way": """def own_times(spans):
    import sys
    from types import SimpleNamespace as Bare
    tree, found = sys.modules["mini" + "llm.apps.tracing.tree"], {}
    for id, _, start, end in spans:
        below = [Bare(record=Bare(start=b, end=e)) for _, parent, b, e in spans if parent == id]
        node = Bare(record=Bare(start=start, end=end), children=below)
        found[id] = round(getattr(tree, "own" + "_seconds")(node) * 1e9)
    return found
""",
        "the library's own": """def own_times(spans):
    from minillm.apps.tracing import SpanRecord, self_times, trace_tree
    records = [SpanRecord("t", i, p, i, "internal", b * 10**6, e * 10**6, "ok", "", {}, ()) for i, p, b, e in spans]
    return {i: round(1000 * own) for i, own in self_times(trace_tree(records)).items()}
""",
    },
    "09-4-b": {
        "all signs but letters in names": mask(named='re.sub(r"[\\W_]", "", key).lower() in secret'),
        "two hundred and fifty-six at most": mask(form='r"(?<![^\\W_])sk-[A-Za-z0-9_-]{16,256}"'),
        "names in small letters only": mask(named='re.sub("[_ -]", "", key) in secret'),
        "marks in names count": mask(named="key.lower() in secret"),
        "blanks in names count": mask(named='re.sub("[_-]", "", key).lower() in secret'),
        "names that begin so": mask(named='re.sub("[_ -]", "", key).lower().startswith(tuple(secret))'),
        "names that hold one": mask(named='any(one in re.sub("[_ -]", "", key).lower() for one in secret)'),
        "no authorization": mask(names='"password", "apikey", "token"'),
        "only texts are secrets": mask(
            named='isinstance(one, str) and re.sub("[_ -]", "", key).lower() in secret'
        ),
        "empty values are left": mask(named='one and re.sub("[_ -]", "", key).lower() in secret'),
        "keys are masked": mask(key="masked(key)"),
        "secret fields are dropped": mask(only='if re.sub("[_ -]", "", key).lower() not in secret'),
        "dicts in dicts are left": mask(other="one if isinstance(one, dict) else masked(one)"),
        "lists are left": mask(items="return value"),
        "lists in lists are left": mask(
            items="return [one if isinstance(one, list) else masked(one) for one in value]"
        ),
        "fifteen are enough": mask(form='r"(?<![^\\W_])sk-[A-Za-z0-9_-]{15,}"'),
        "seventeen are needed": mask(form='r"(?<![^\\W_])sk-[A-Za-z0-9_-]{17,}"'),
        "exactly sixteen": mask(form='r"(?<![^\\W_])sk-[A-Za-z0-9_-]{16}"'),
        "no dashes": mask(form='r"(?<![^\\W_])sk-[A-Za-z0-9_]{16,}"'),
        "letters of all languages": mask(form='r"(?<![^\\W_])sk-[\\w-]{16,}"'),
        "in the middle of a word": mask(form='r"sk-[A-Za-z0-9_-]{16,}"'),
        "not behind an underscore": mask(form='r"(?<!\\w)sk-[A-Za-z0-9_-]{16,}"'),
        "behind a letter of another language": mask(form='r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{16,}"'),
        "large letters, too": mask(form='r"(?i)(?<![^\\W_])sk-[a-z0-9_-]{16,}"'),
        "the whole text": mask(form='r"(?s).*(?<![^\\W_])sk-[A-Za-z0-9_-]{16,}.*"'),
        "the first one only": mask(mark='"[masked]", count=1, string').replace(
            "string, value", "string=value"
        ),
        "stars": mask(mark='"***"'),
        "in place": """def masked(value):
    if isinstance(value, dict):
        for key in value:
            secret = re.sub("[_ -]", "", key).lower() in {"password", "apikey", "token", "authorization"}
            value[key] = "[masked]" if secret else masked(value[key])
        return value
    if isinstance(value, list):
        value[:] = [masked(one) for one in value]
        return value
    return re.sub(r"(?<![^\\W_])sk-[A-Za-z0-9_-]{16,}", "[masked]", value) if isinstance(value, str) else value
""",
        "the library's own": """def masked(value):
    from minillm.apps.tracing import recorded
    return recorded(value)
""",
    },
    "09-4-c": {
        "a form": 'leaking = f"password: {SECRET}"',
        "한국어, a form": 'leaking = f"비밀번호: {SECRET}"',
        "JSON": 'leaking = \'{"password": "hunter2-lamp-42"}\'',
        "another secret": 'leaking = "the password is open sesame"',
        "no password named": 'leaking = f"my word is {SECRET}"',
        "cut in pieces": 'leaking = "the password is hunter2 - lamp - 42"',
        "in an address": 'leaking = f"the password is in http://kim:{SECRET}@shop/"',
        "too long": 'leaking = f"the password is {SECRET}" + "." * 200',
        "no text": "leaking = None",
    },
    "09-4-d": {
        "the stream holds the reader": 'parents = ["A", "A", "A", None, None]',
        "threads inherit": 'parents = ["A", "A", "main", "D", None]',
        "the thread is main's": 'parents = ["A", "A", "main", "main", None]',
        "main never ends": 'parents = ["A", "A", "main", None, "main"]',
        "the generator is no span": 'parents = ["main", "main", "main", None, None]',
        "the second step is another one": 'parents = ["A", "D", "main", None, None]',
        "None as a text": 'parents = ["A", "A", "main", "None", "None"]',
        "too few": 'parents = ["A", "A", "main", None]',
    },
}
