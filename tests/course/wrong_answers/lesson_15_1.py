"""Plausible wrong answers to the exercises of lesson 15_1."""

SCHEMA = """def schema(source):
    import ast

    names = {names}

    def one(node):
        text = ast.unparse(node)
        if text in names:
            return {{"type": names[text]}}
        if isinstance(node, ast.BinOp):
            left, right = one(node.left), one(node.right)
            return {{"anyOf": {union}}}
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "list":
            return {array}
        {other}

    args = ast.parse(source).body[0].args
    every = {every}
    optional = {optional}
    if {refused}:
        return {none}
    try:
        properties = {{a.arg: one(a.annotation) for a in every}}
    except TypeError:
        return None
    required = {required}
    return {{"type": "object", "properties": properties, "required": required{closed}}}
"""
SCHEMA_RIGHT = {
    "names": '{"str": "string", "int": "integer", "float": "number", "bool": "boolean", "None": "null"}',
    "union": '[*left.get("anyOf", [left]), *right.get("anyOf", [right])]',
    "array": '{"type": "array", "items": one(node.slice)}',
    "other": "raise TypeError(text)",
    "every": "args.args + args.kwonlyargs",
    "optional": "[a.arg for a, d in zip(args.args[::-1], args.defaults[::-1])]"
    " + [a.arg for a, d in zip(args.kwonlyargs, args.kw_defaults) if d is not None]",
    "refused": "args.vararg or args.kwarg or not all(a.annotation for a in every)",
    "none": "None",
    "required": "[a.arg for a in every if a.arg not in optional]",
    "closed": ', "additionalProperties": False',
}
RUN = """def run(replies, tools, steps, tokens):
    used, seen, calls = 0, [], {{}}
    {before}
    for made in range(steps + 1):
        {first}
        {second}
        text, cost = replies[made]
        {spend}
        try:
            said = json.loads(text)
        except ValueError:
            said = None
            {unread}
        {sound}
        if not sound or (name == "answer" and {answerless}):
            {bad}
        elif name == "answer":
            return [{answer}, "answer", seen]
        elif {missing}:
            {no_tool}
        else:
            {call}
"""
SOUND = """if not isinstance(said, dict):
            said = {}
        name, arguments = said.get("action"), said.get("arguments")
        sound = isinstance(name, str) and isinstance(arguments, dict)"""
CALL = """at = calls[name] = calls.get(name, -1) + 1
            seen.append("failed" if at >= len(tools[name]) or tools[name][at] is None else tools[name][at])"""
RUN_RIGHT = {
    "before": "pass",
    "first": 'if made == steps:\n            return ["", "steps", seen]',
    "second": 'if used >= tokens:\n            return ["", "tokens", seen]',
    "spend": "used += cost",
    "unread": "pass",
    "sound": SOUND,
    "answerless": 'not isinstance(arguments.get("text"), str)',
    "bad": 'seen.append("unreadable")',
    "answer": 'arguments["text"]',
    "missing": "name not in tools",
    "no_tool": 'seen.append("no such tool")',
    "call": CALL,
}
ALLOWED = """def allowed(calls, dangerous, verdicts):
    ran, asked, closed = [], [], set()
    {before}
    for name, value in calls:
        if {shut}:
            continue
        if {ask}:
            said = {said}
            asked.append({name})
            if {edit}:
                {edited}
            elif {no}:
                {close}
                {stop}
            {after}
        ran.append([name, value])
    return {result}
"""
ALLOWED_RIGHT = {
    "before": "pass",
    "shut": "name in closed",
    "ask": "name in dangerous",
    "said": 'verdicts[len(asked)] if len(asked) < len(verdicts) else "refuse"',
    "name": "name",
    "edit": 'isinstance(said, list) and len(said) == 2 and said[0] == "edit"',
    "edited": "value = said[1]",
    "no": 'said != "approve"',
    "close": "closed.add(name)",
    "stop": "continue",
    "after": "pass",
    "result": "[ran, asked]",
}
FIRST, SECOND = RUN_RIGHT["first"], RUN_RIGHT["second"]
NAMES = SCHEMA_RIGHT["names"]


def schema(**changes):
    return SCHEMA.format(**SCHEMA_RIGHT | changes)


def run(**changes):
    return RUN.format(**RUN_RIGHT | changes)


def allowed(**changes):
    return ALLOWED.format(**ALLOWED_RIGHT | changes)


def broken(fails='{"total": 1, "people": 0}', harmless='{"total": 1.0}'):
    return f"fails = {fails}\nharmless = {harmless}"


WRONG = {
    "15-1-a": {
        "floats are integers": schema(names=NAMES.replace('"number"', '"integer"')),
        "bool is an integer": schema(names=NAMES.replace('"boolean"', '"integer"')),
        "None is no type": schema(names=NAMES.replace(', "None": "null"', "")),
        "knows dict": schema(names=NAMES.replace("{", '{"dict": "object", ')),
        "a bare list": schema(names=NAMES.replace("{", '{"list": "array", ')),
        "a nested union": schema(union="[left, right]"),
        "the union from the right": schema(
            union='[*right.get("anyOf", [right]), *left.get("anyOf", [left])]'
        ),
        "None left out of a union": schema(
            union='[one for one in [*left.get("anyOf", [left]), right] if one != {"type": "null"}]'
        ),
        "types as a list": schema(union="[left]").replace(
            '{"anyOf": [left]}', '{"type": [left["type"], right["type"]]}'
        ),
        "a list without its items": schema(array='{"type": "array"}'),
        "items as text": schema(array='{"type": "array", "items": ast.unparse(node.slice)}'),
        "unknown is a text": schema(other='return {"type": "string"}'),
        "unknown raises": schema(other="raise KeyError(text)"),
        "forgets what comes after the star": schema(every="args.args"),
        "the star's names first": schema(every="args.kwonlyargs + args.args"),
        "all are required": schema(required="[a.arg for a in every]"),
        "none is required": schema(required="[]"),
        "sorted": schema(required="sorted(a.arg for a in every if a.arg not in optional)"),
        "the optional ones": schema(required="optional"),
        "those that may be None are optional": schema(
            required='[a.arg for a in every if a.arg not in optional and "None" not in ast.unparse(a.annotation)]'
        ),
        "defaults from the left": schema(optional="[a.arg for a, d in zip(every, args.defaults)]"),
        "takes *args": schema(refused="args.kwarg or not all(a.annotation for a in every)"),
        "takes **more": schema(refused="args.vararg or not all(a.annotation for a in every)"),
        "an empty dict for what has no schema": schema(none="{}"),
        "open": schema(closed=""),
        "open, said so": schema(closed=', "additionalProperties": True'),
        "the library's": "def schema(source):\n    space = {}\n    exec(source, space)\n"
        "    try:\n        return parameters_of(space['f'])\n    except ValueError:\n        return None",
        "the library's, imported inside": "def schema(source):\n    from minillm.apps.agents import tools as t\n"
        "    space = {}\n    exec(source, space)\n    try:\n        return t.parameters_of(space['f'])\n"
        "    except (ValueError, TypeError):\n        return None",
    },
    "15-1-b": {
        "tokens first": run(first=SECOND, second=FIRST),
        "one step too many": run(first='if made > steps:\n            return ["", "steps", seen]'),
        "more than the tokens": run(second='if used > tokens:\n            return ["", "tokens", seen]'),
        "tokens before they are spent": run(
            second='if used + replies[made][1] > tokens:\n            return ["", "tokens", seen]'
        ),
        "no budget of tokens": run(second="pass"),
        "what cannot be read is free": run(
            spend="pass", unread="continue", sound=SOUND + "\n        used += cost"
        ),
        "unreadable leaves no trace": run(bad="pass"),
        "an answer without a text is empty": run(answerless="False", answer='str(arguments.get("text", ""))'),
        "an empty answer is none": run(answerless='not arguments.get("text")'),
        "a number is an answer": run(answerless='"text" not in arguments', answer='str(arguments["text"])'),
        "any object": run(sound=SOUND.replace("isinstance(arguments, dict)", "True")),
        "a list raises": run(sound=SOUND.replace("if not isinstance(said, dict):", "if said is None:")),
        "an unknown tool raises": run(missing="False"),
        "an unknown tool is unreadable": run(no_tool='seen.append("unreadable")'),
        "an unknown tool ends it": run(no_tool='return ["", "no such tool", seen]'),
        "always the first result": run(call='seen.append((tools[name] or [None])[0] or "failed")'),
        "eats the lists": run(
            call="given = tools[name].pop(0) if tools[name] else None\n"
            '            seen.append("failed" if given is None else given)'
        ),
        "one count for all tools": run(
            call=CALL.replace("calls[name] = calls.get(name, -1)", "calls[0] = calls.get(0, -1)")
        ),
        "None is shown": run(call=CALL.replace(" or tools[name][at] is None", "")),
        "an empty text is a failure": run(
            call=CALL.replace("tools[name][at] is None", "not tools[name][at]")
        ),
        "the last result again": run(
            call=CALL.replace("at >= len(tools[name])", "not tools[name]").replace(
                "[at]", "[min(at, len(tools[name]) - 1)]"
            )
        ),
        "the answer is seen as well": run(answer='seen.append("") or arguments["text"]'),
        "says why in the answer": run(
            first='if made == steps:\n            return ["out of steps", "steps", seen]'
        ),
    },
    "15-1-c": {
        "asks again": allowed(close="pass"),
        "closes every tool": allowed(shut="closed"),
        "closes every dangerous tool": allowed(shut="closed and name in dangerous"),
        "asks although closed": allowed(shut="name in closed and not asked.append(name)"),
        "asks about all": allowed(ask="True"),
        "asks about none": allowed(ask="False"),
        "runs all the same": allowed(stop="pass"),
        "silence is consent": allowed(
            said='verdicts[len(asked)] if len(asked) < len(verdicts) else "approve"'
        ),
        "the last word holds": allowed(said='([*verdicts[: len(asked) + 1]] or ["refuse"])[-1]'),
        "only refuse is a no": allowed(no='said == "refuse"'),
        "edit is ignored": allowed(edited="pass"),
        "any list is an edit": allowed(edit="isinstance(said, list)"),
        "edit to nothing is a refusal": allowed(
            edit='isinstance(said, list) and said[0] == "edit" and said[1]'
        ),
        "an edit is a refusal": allowed(edit="False"),
        "an approval is for ever": allowed(
            before="trusted = set()",
            ask="name in dangerous and name not in trusted",
            after="trusted.add(name)",
        ),
        "ends at the first no": allowed(stop="break"),
        "eats the verdicts": allowed(said='verdicts.pop(0) if verdicts else "refuse"'),
        "counts the calls": allowed(said='([*verdicts] + ["refuse"] * 99)[len(ran)]'),
        "how often it was asked": allowed(result="[ran, len(asked)]"),
        "the names alone": allowed(result="[[name for name, _ in ran], asked]"),
    },
    "15-1-d": {
        "fits and works": broken(fails='{"total": 1, "people": 2}'),
        "a text does not fit": broken(fails='{"total": "1"}'),
        "nothing there": broken(fails="{}"),
        "a third argument": broken(fails='{"total": 1, "people": 0, "tip": 1}'),
        "zero as a float": broken(fails='{"total": 1, "people": 0.0}'),
        "harmless fits": broken(harmless='{"total": 1}'),
        "harmless raises": broken(harmless='{"total": "1"}'),
        "harmless has a strange name": broken(harmless='{"total": 1, "tip": 1}'),
        "harmless divides by False": broken(harmless='{"total": 1, "people": False}'),
        "no dicts": broken("1", "2"),
        "no JSON": broken(harmless='{"total": 1 + 2j}'),
        "too long": broken(harmless='{"total": 1.0, "people": 10**250}'),
    },
}
