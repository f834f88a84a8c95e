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

TRACER = """def spans_of(program, clock):
    {keep}
    count, spans = itertools.count({first}), []

    @contextmanager
    def trace(name):
        number, parent, start, error = next(count), {parent}, clock(), None
        {enter}
        try:
            yield
        except BaseException as raised:
            error = {error}
            {on}
        finally:
            {leave}
            {write}

    {call}
    return {result}
"""
TRACER_RIGHT = {
    "keep": 'opened = ContextVar("opened", default=None)',
    "first": "0",
    "parent": "opened.get()",
    "enter": "token = opened.set(number)",
    "error": "type(raised).__name__",
    "on": "raise",
    "leave": "opened.reset(token)",
    "write": "spans.append((number, parent, name, start, clock(), error))",
    "call": "program(trace)",
    "result": "spans",
}
STACK = {
    "parent": "stack[-1] if stack else None",
    "enter": "stack.append(number)",
    "leave": "stack.remove(number)",
}


def own(**change):
    return OWN.format(**OWN_RIGHT | change)


def tracer(**change):
    return TRACER.format(**TRACER_RIGHT | change)


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
        "one stack for the whole program": tracer(keep="stack = []", **STACK),
        "a stack for each thread": tracer(
            keep="import threading\n    here = threading.local()",
            parent='(here.__dict__.setdefault("stack", []) or [None])[-1]',
            enter="here.stack.append(number)",
            leave="here.stack.remove(number)",
        ),
        "a stack for each thread and task, empty where a task begins": tracer(
            keep="import asyncio, collections, threading\n    stacks = collections.defaultdict(list)\n\n"
            "    def mine():\n        try:\n            task = asyncio.current_task()\n"
            "        except RuntimeError:\n            task = None\n"
            "        return stacks[threading.get_ident(), id(task)]\n",
            parent="(mine() or [None])[-1]",
            enter="mine().append(number)",
            leave="mine().remove(number)",
        ),
        "the span that was opened last": tracer(
            keep="last = [None]", parent="last[0]", enter="last[0] = number", leave="pass"
        ),
        "nothing is open after a block": tracer(leave="opened.set(None)"),
        "a block never closes": tracer(leave="pass"),
        "no span has a parent": tracer(parent="None"),
        "the first one is everybody's parent": tracer(parent="None if opened.get() is None else 0"),
        "the parent's name": tracer(enter="token = opened.set(name)"),
        "counts from one": tracer(first="1"),
        "errors end in the block": tracer(on="pass"),
        "the error's words": tracer(error="str(raised)"),
        "the error itself": tracer(error="raised"),
        "errors are not noted": tracer(error="None"),
        "a block that an error leaves is no span": tracer(
            leave="opened.reset(token)",
            write="if error is None:\n                spans.append((number, parent, name, start, clock(), error))",
        ),
        "in the order in which they are opened": tracer(result="sorted(spans)"),
        "how long it took": tracer(
            write="spans.append((number, parent, name, start, clock() - start, error))"
        ),
        "the end is the start": tracer(write="spans.append((number, parent, name, start, start, error))"),
        "the program runs twice": tracer(call="program(trace)\n    program(trace)"),
        "the program does not run": tracer(call="pass"),
        "nothing is put right where an error passes": """def spans_of(program, clock):
    opened, count, spans = ContextVar("opened", default=None), itertools.count(), []

    @contextmanager
    def trace(name):
        number, parent, start = next(count), opened.get(), clock()
        token = opened.set(number)
        yield
        opened.reset(token)
        spans.append((number, parent, name, start, clock(), None))

    program(trace)
    return spans
""",
        "the library's own": """def spans_of(program, clock):
    from minillm.apps.tracing import Tracer

    tracer, count = Tracer(seed=0, clock=lambda: clock() * 10**6), itertools.count()
    program(lambda name: tracer.trace(f"{next(count)} {name}"))
    numbers = {one.span_id: int(one.name.split()[0]) for one in tracer.kept}
    return [
        (numbers[one.span_id], numbers.get(one.parent_id), one.name.split(" ", 1)[1], one.start // 10**6,
         one.end // 10**6, one.attributes.get("error.type"))
        for one in tracer.kept
    ]
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
