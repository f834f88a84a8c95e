"""Plausible wrong answers to the exercises of lesson 08_1."""

SERVE = """def serve(requests, slots, budget):
    steps, waiting, running = [], deque(range(len(requests))), []
    read, given = [0] * len(requests), [0] * len(requests)

    def piece(number, left):
        many = min(requests[number][1] - read[number], {left})
        read[number] += many
        return many

    while waiting or running:
        plan = {{number: 1 for number in running if given[number]}}
        for number in [one for one in running if not given[one]]:
            plan[number] = piece(number, budget - sum(plan.values()))
        while waiting and len(running) < slots and {room}:
            if requests[waiting[0]][0] > len(steps):
                break
            running.append(waiting.{next}())
            plan[running[-1]] = piece(running[-1], budget - sum(plan.values()))
        steps.append({{number: many for number, many in plan.items() if many}})
        for number in list(running):
            given[number] += {token}
            if {done}:
                running.remove(number)
    return steps"""
FINE = {
    "left": "left",
    "room": "sum(plan.values()) < budget",
    "next": "popleft",
    "token": "read[number] == requests[number][1]",
    "done": "given[number] == requests[number][2]",
}
WAVES = """def serve(requests, slots, budget):
    steps, first = [], 0
    while first < len(requests):
        batch = range(first, min(first + slots, len(requests)))
        while len(steps) < requests[batch[-1]][0]:
            steps.append({})
        unread = {i: requests[i][1] for i in batch}
        missing = {i: requests[i][2] for i in batch}
        while any(missing.values()):
            plan = {i: 1 for i in batch if missing[i] and not unread[i]}
            for i in batch:
                if unread[i] and budget > sum(plan.values()):
                    plan[i] = min(unread[i], budget - sum(plan.values()))
            for i, many in plan.items():
                unread[i] = max(0, unread[i] - many)
                missing[i] -= not unread[i]
            steps.append(plan)
        first = batch.stop
    return steps"""
PREFILL_FIRST = """def serve(requests, slots, budget):
    steps, waiting, running = [], deque(range(len(requests))), []
    read, given = [0] * len(requests), [0] * len(requests)
    while waiting or running:
        while waiting and len(running) < slots and requests[waiting[0]][0] <= len(steps):
            running.append(waiting.popleft())
        plan = {}
        for number in [one for one in running if not given[one]] + [one for one in running if given[one]]:
            left = budget - sum(plan.values())
            many = 1 if given[number] else requests[number][1] - read[number]
            if min(many, left):
                plan[number] = min(many, left)
                read[number] += 0 if given[number] else min(many, left)
        steps.append(plan)
        for number in list(running):
            given[number] += number in plan and read[number] == requests[number][1]
            if given[number] == requests[number][2]:
                running.remove(number)
    return steps"""
ENGINE = """def serve(requests, slots, budget):
    model = Llama(LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                              num_attention_heads=1), seed=0).eval()
    engine = Engine(model, max_batch_size=slots, max_batch_tokens=budget, prefix_caching=False)
    found = replay(engine, [Arrival(step, [1] * prompt, new) for step, prompt, new in requests])
    return [{0: tokens} if tokens else {} for tokens in found.tokens]"""
STARVE = """arrivals = {arrivals}
lengths = {lengths}
who, reason, cannot = {rest}"""
LONG = {
    "arrivals": "[0, 0, 1] + [5 * (i // 2) for i in range(2, 82)]",
    "lengths": "[5, 5, 50] + [5] * 80",
    "rest": '2, "b", "c"',
}
LYING = """class Anything(int):
    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = int.__hash__


"""
ORDERS = """bad = {bad}
good = {good}
trick = {trick}"""
TWO = {"bad": "[50, 1, 1, 1] * 4", "good": "sorted([50, 1, 1, 1] * 4)", "trick": '"a"'}

WRONG = {
    "08-1-a": {
        "the sum of all": "prediction = [18, 9, 18, 0]",
        "static without waiting for the longer": "prediction = [9, 9, 0, 0]",
        "counts the kept places as work": "prediction = [13, 9, 0, 0]",
        "pairs at once": "prediction = [13, 13, 8, 8]",
        "three numbers": "prediction = [13, 9, 8]",
        "numbers equal to everything": LYING + "prediction = [Anything(1)] * 4",
    },
    "08-1-b": {
        "static batching": WAVES,
        "prompts before decodes": PREFILL_FIRST,
        "ignores the budget": SERVE.format(**FINE | {"left": "10**9"}),
        "a prompt waits until the budget holds all of it": SERVE.format(
            **FINE | {"room": "min(budget, requests[waiting[0]][1]) <= budget - sum(plan.values())"}
        ),
        "the newest first": SERVE.format(**FINE | {"next": "pop"}),
        "the last prompt token gives no new token": SERVE.format(
            **FINE | {"done": "given[number] == requests[number][2] + 1"}
        ),
        "a token for every piece of the prompt": SERVE.format(**FINE | {"token": "number in plan"}),
        "one token short": SERVE.format(
            **FINE | {"done": "given[number] >= max(1, requests[number][2] - 1)"}
        ),
        "ignores when they come": SERVE.format(**FINE).replace(
            "requests[waiting[0]][0] > len(steps)", "False"
        ),
        "one request too many": SERVE.format(**FINE).replace("len(running) < slots", "len(running) <= slots"),
        "skips steps without anybody": SERVE.format(**FINE).replace(
            "return steps", "return [one for one in steps if one]"
        ),
        "only prompts count against the budget": SERVE.format(**FINE).replace(
            "sum(plan.values())", "sum(many for one, many in plan.items() if not given[one])"
        ),
        "admits one a step": SERVE.format(**FINE)
        .replace("while waiting and len", "if waiting and len")
        .replace(
            "            if requests[waiting[0]][0] > len(steps):\n                break\n            running",
            "          if requests[waiting[0]][0] <= len(steps):\n            running",
        ),
        "one dict for all steps": SERVE.format(**FINE)
        .replace("    steps, waiting", "    one = {}\n    steps, waiting")
        .replace(
            "steps.append({number: many for number, many in plan.items() if many})",
            "one.clear()\n        one.update(plan)\n        steps.append(one)",
        ),
        "the steps of the call before": "STEPS = []\n\n\n"
        + SERVE.format(**FINE).replace("running = [], deque", "running = STEPS, deque"),
        "begins when the first one comes": SERVE.format(**FINE)
        .replace(
            "    while waiting or", "    first = requests[0][0] if requests else 0\n    while waiting or"
        )
        .replace("> len(steps)", "- first > len(steps)"),
        "a slot is free in the step of the last token": SERVE.format(**FINE).replace(
            "len(running) < slots", "sum(missing[n] > (n in plan and not unread[n]) for n in running) < slots"
        ),
        "the checker's": """import importlib


def serve(requests, slots, budget):
    checker = importlib.import_module("minillm.course.classroom.exercises.lesson_08_1")
    return checker.schedule(requests, slots, budget)""",
        "the library's engine": ENGINE,
    },
    "08-1-c": {
        "everybody is equally long": STARVE.format(**LONG | {"lengths": "[5] * 83"}),
        "all come at once, few of them": STARVE.format(
            arrivals="[0] * 6", lengths="[5, 5, 50, 4, 4, 4]", rest='2, "b", "c"'
        ),
        "not in order": STARVE.format(**LONG | {"arrivals": "[200 - i for i in range(83)]"}),
        "too many": STARVE.format(arrivals="[0] * 300", lengths="[9] + [1] * 299", rest='0, "b", "c"'),
        "names one that is served": STARVE.format(**LONG | {"rest": '40, "b", "c"'}),
        "it came when all slots were taken": STARVE.format(**LONG | {"rest": '2, "a", "c"'}),
        "long texts take more steps": STARVE.format(**LONG | {"rest": '2, "c", "c"'}),
        "sorting is slow": STARVE.format(**LONG | {"rest": '2, "b", "a"'}),
        "a dict of numbers equal to everything": LYING
        + STARVE.format(
            arrivals="[Anything(0)] * 6", lengths="[Anything(5)] * 6", rest='Anything(2), "b", "c"'
        ),
    },
    "08-1-d": {
        "one long text": ORDERS.format(**TWO | {"bad": "[50] + [1] * 15", "good": "[50] + [1] * 15"}),
        "other lengths": ORDERS.format(**TWO | {"good": "[1] * 16"}),
        "too few": ORDERS.format(bad="[50, 1, 1, 1] * 3", good="sorted([50, 1, 1, 1] * 3)", trick='"a"'),
        "good is as bad": ORDERS.format(**TWO | {"good": "[1, 50, 1, 1] * 4"}),
        "bad is not bad enough": ORDERS.format(
            **TWO | {"bad": "[20, 10, 10, 10] * 4", "good": "sorted([20, 10, 10, 10] * 4)"}
        ),
        "longest first, always": ORDERS.format(**TWO | {"trick": '"b"'}),
        "mixed": ORDERS.format(**TWO | {"trick": '"c"'}),
        "lengths beyond 50": ORDERS.format(
            bad="[500, 1, 1, 1] * 4", good="sorted([500, 1, 1, 1] * 4)", trick='"a"'
        ),
    },
}
