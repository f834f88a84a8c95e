"""Plausible wrong answers to the exercises of lesson 15_2."""

TALK = """def talk(agents, follows, first, most):
    order = [name for name, _, _ in agents]
    lines = {{name: said for name, said, _ in agents}}
    limits = {{name: limit for name, _, limit in agents}}
    spoken = dict.fromkeys(order, 0)
    names, text = [first[0]], first[1]
    {before}
    while True:
        {room}
        last = names[-1]
        inside = last in order
        may = {may}
        start = {start}
        speaker = next((one for one in {queue} if one in may), None)
        {nobody}
        {word}
        {limit}
        text = {line}
        {count}
        names.append(speaker)
"""
TALK_RIGHT = {
    "before": "pass",
    "room": 'if len(names) >= most:\n            return [names, "rounds"]',
    "may": "follows.get(last, []) if inside else order",
    "start": "order.index(last) + 1 if inside else 0",
    "queue": "order[start:] + order[:start]",
    "nobody": 'if speaker is None:\n            return [names, "no speaker"]',
    "word": 'if text.rstrip().endswith("TERMINATE"):\n            return [names, "terminated"]',
    "limit": 'if spoken[speaker] >= limits[speaker]:\n            return [names, "auto_reply"]',
    "line": "lines[speaker][spoken[speaker] % len(lines[speaker])]",
    "count": "spoken[speaker] += 1",
}
TURNS = """def turns(mode, limit, heard, typed):
    did, asked, row = [], 0, 0
    {before}
    for message in heard:
        ended = {ended}
        over = {over}
        if {ask}:
            text = {text}
            asked += 1
            if {exit}:
                {out}
            if {said}:
                {say}
                {reset}
                continue
            over = {silent}
        if over:
            {stop}
        did.append(None)
        row += 1
    return {result}
"""
TURNS_RIGHT = {
    "before": "pass",
    "ended": 'message.rstrip().endswith("TERMINATE")',
    "over": "ended or row >= limit",
    "ask": 'mode == "ALWAYS" or (mode == "TERMINATE" and over)',
    "text": 'typed[asked] if asked < len(typed) else ""',
    "exit": 'text.strip().lower() == "exit"',
    "out": "break",
    "said": "text",
    "say": "did.append(text)",
    "reset": "row = 0",
    "silent": "ended",
    "stop": "break",
    "result": "[did, asked]",
}
MAJORITY = """def majority(ps):
    chances = {{0: 1.0}}
    for p in {ps}:
        after = Counter()
        for right, chance in chances.items():
            after[right + 1] += chance * {hit}
            after[right] += chance * {miss}
        chances = after
    n = {n}
    return {result}
"""
MAJORITY_RIGHT = {
    "ps": "ps",
    "hit": "p",
    "miss": "(1 - p)",
    "n": "len(ps)",
    "result": "sum(c for k, c in chances.items() if 2 * k > n) + chances.get(n / 2, 0.0) / 2",
}
ROOM, NOBODY, WORD, LIMIT = (TALK_RIGHT[one] for one in ("room", "nobody", "word", "limit"))


def talk(**changes):
    return TALK.format(**TALK_RIGHT | changes)


def turns(**changes):
    return TURNS.format(**TURNS_RIGHT | changes)


def majority(**changes):
    return MAJORITY.format(**MAJORITY_RIGHT | changes)


WRONG = {
    "15-2-a": {
        "one message too many": talk(room='if len(names) > most:\n            return [names, "rounds"]'),
        "the opening is no message": talk(
            room='if len(names) - 1 >= most:\n            return [names, "rounds"]'
        ),
        "the room comes last": talk(room="pass", limit=f"{LIMIT}\n        {ROOM}"),
        "the word before nobody": talk(nobody=WORD, word=NOBODY),
        "the limit before the word": talk(word=LIMIT, limit=WORD),
        "everyone may follow": talk(may="order"),
        "no key: everyone may": talk(may="follows.get(last, order) if inside else order"),
        "empty: everyone may": talk(may="(follows.get(last, []) or order) if inside else order"),
        "a missing key raises": talk(may="follows[last] if inside else order"),
        "after an outsider nobody": talk(may="follows.get(last, [])"),
        "the order of the list": talk(queue="may"),
        "never follows itself": talk(queue="order[start:] + order[: max(start - 1, 0)]"),
        "itself comes first": talk(start="order.index(last) if inside else 0"),
        "always from the first": talk(queue="order"),
        "does not go round": talk(queue="order[start:]"),
        "blanks hide the word": talk(word=WORD.replace(".rstrip()", "")),
        "the word anywhere": talk(word='if "TERMINATE" in text:\n            return [names, "terminated"]'),
        "the word alone": talk(
            word='if text.strip() == "TERMINATE":\n            return [names, "terminated"]'
        ),
        "in any case": talk(word=WORD.replace("text.rstrip()", "text.rstrip().upper()")),
        "the opening never ends it": talk(word=WORD.replace("if ", "if len(names) > 1 and ")),
        "one reply too many": talk(limit=LIMIT.replace(">=", ">")),
        "the opening counts": talk(before="if names[0] in spoken:\n        spoken[names[0]] += 1"),
        "a limit in a row": talk(count="spoken = {**dict.fromkeys(order, 0), speaker: spoken[speaker] + 1}"),
        "silent at the limit": talk(
            limit="if spoken[speaker] >= limits[speaker]:\n            names.append(speaker)\n            continue"
        ),
        "lines run out": talk(line="lines[speaker][spoken[speaker]]"),
        "lines by the place": talk(line="lines[speaker][len(names) % len(lines[speaker])]"),
        "eats the lines": talk(
            line="lines[speaker].pop(0) if len(lines[speaker]) > 1 else lines[speaker][0]"
        ),
        "leaves the opening out": talk(before="out = lambda why: [names[1:], why]")
        .replace("return [names,", "return out(")
        .replace('"]', '")'),
        "the library's": """def talk(agents, follows, first, most):
    members = []
    for name, lines, limit in agents:
        said = iter(lines * 99)
        members.append(ChatAgent(name, "", lambda told, said=said: next(said), limit))
    named = {one.name: one for one in members}
    given = {named[one]: [named[two] for two in who] for one, who in follows.items()}
    group = GroupChat(members, (), most, allowed_or_disallowed_speaker_transitions=given,
                      speaker_transitions_type="allowed")
    chat = group.run(first[1], first[0])
    return [[one["name"] for one in chat.messages], chat.finish_reason]""",
    },
    "15-2-b": {
        "never asks": turns(ask="False"),
        "always asks": turns(ask="True"),
        "never means always": turns(ask='mode != "TERMINATE" or over'),
        "asked at the end alone": turns(ask='mode == "ALWAYS" or (mode == "TERMINATE" and ended)'),
        "asked at the limit alone": turns(ask='mode == "ALWAYS" or (mode == "TERMINATE" and row >= limit)'),
        "always: only where it ends": turns(ask='mode != "NEVER" and over'),
        "silence ends it at the limit": turns(silent="over"),
        "silence goes on after the end": turns(silent="False"),
        "silence always ends it": turns(silent="True"),
        "one reply too many": turns(over="ended or row > limit"),
        "the limit of all replies": turns(reset="pass"),
        "no limit": turns(over="ended"),
        "no end": turns(over="row >= limit", silent="False"),
        "blanks hide the word": turns(ended='message.endswith("TERMINATE")'),
        "the word anywhere": turns(ended='"TERMINATE" in message'),
        "the word in any case": turns(ended='message.rstrip().upper().endswith("TERMINATE")'),
        "exit to the letter": turns(exit='text == "exit"'),
        "exit and more": turns(exit='text.strip().lower().startswith("exit")'),
        "exit is said": turns(out='did.append("exit")\n                break'),
        "exit skips a turn": turns(out="continue"),
        "a blank is nothing": turns(said="text.strip()"),
        "what was typed is not shown": turns(say="did.append(None)"),
        "typed by the turn": turns(before="typed = list(typed) + [''] * 99", text="typed[len(did)]"),
        "eats what was typed": turns(text='typed.pop(0) if typed else ""'),
        "the last word again": turns(text='([*typed[: asked + 1]] or [""])[-1]'),
        "skips what ends it": turns(stop="continue"),
        "what was typed, no count": turns(result="[did, typed[:asked]]"),
    },
    "15-2-c": {
        "all equal to the first": majority(ps="[ps[0]] * len(ps)"),
        "all equal to the mean": majority(ps="[sum(ps) / len(ps)] * len(ps)"),
        "half is enough": majority(result="sum(c for k, c in chances.items() if 2 * k >= n)"),
        "half is not enough": majority(result="sum(c for k, c in chances.items() if 2 * k > n)"),
        "the wrong ones": majority(hit="(1 - p)", miss="p"),
        "the share": majority(result="sum(k * c for k, c in chances.items()) / n"),
        "seven digits": majority(
            result="round(sum(c for k, c in chances.items() if 2 * k > n) + chances.get(n / 2, 0.0) / 2, 7)"
        ),
        "forgets the last solver": majority(ps="ps[:-1]"),
        "the normal curve": "def majority(ps):\n    import math\n\n    mean = sum(ps)\n"
        "    var = sum(p * (1 - p) for p in ps) or 1e-9\n"
        "    return 0.5 * math.erfc((len(ps) / 2 - mean) / math.sqrt(2 * var))",
        "draws": "def majority(ps):\n    draw = random.Random(0)\n    n = 2000\n"
        "    wins = [2 * sum(draw.random() < p for p in ps) - len(ps) for _ in range(n)]\n"
        "    return sum((one > 0) + (one == 0) / 2 for one in wins) / n",
        "empties the list": majority(n="len(ps) + 0 * len([ps.pop() for _ in range(0 * len(ps) + 1)])"),
        "the library's": "def majority(ps):\n    return vote(ps)",
        "the library's, imported inside": "def majority(ps):\n    from minillm.apps.agents import odds\n\n"
        "    return odds.vote(ps)",
    },
    "15-2-d": {
        "a critic that tosses a coin": "hurts = (0.4, 0.5, 0.4)",
        "a worse critic": "hurts = (0.9, 0.2, 0.2)",
        "the pair is better": "hurts = (0.6, 0.1, 0.6)",
        "hurts too little": "hurts = (0.6, 0.3, 0.35)",
        "no second try": "hurts = (0.7, 0.2, 0.1)",
        "the critic's rate of being right": "hurts = (0.7, 0.8, 0.2)",
        "in per cent": "hurts = (70, 20, 20)",
        "a perfect writer": "hurts = (1.0, 0.2, 0.2)",
        "two numbers": "hurts = (0.7, 0.2)",
        "text": "hurts = 'p, e, q'",
        "not a number": "hurts = (0.7, float('nan'), 0.2)",
    },
}
