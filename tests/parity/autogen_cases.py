"""Talks, as plain data, that AutoGen 0.2 and we both hold: record_autogen.py writes down how AutoGen's went."""

import random

LINES = ["네", "아니요", "ok", "TERMINATE", "끝. TERMINATE", "TERMINATE?", "3"]
TYPED = ["", "", "", "계속", "exit", "TERMINATE"]


def member(draw, name):
    """lines are said in turn, again and again; typed: what the person at this agent types, then nothing."""
    lines = draw.choices(LINES, [6, 6, 6, 1, 1, 2, 6], k=draw.randint(1, 6))
    mode = draw.choice(["NEVER", "NEVER", "TERMINATE", "ALWAYS"])
    typed = draw.choices(TYPED, k=draw.randint(0, 5))
    return {"name": name, "lines": lines, "limit": draw.choice([0, 1, 2, 3, 5]), "mode": mode, "typed": typed}


def two_agents(seed):
    """ann speaks first."""
    draw = random.Random(seed)
    return {"agents": [member(draw, name) for name in ("ann", "bob")], "first": draw.choice(LINES)}


def turns(seed):
    """A talk of so many turns that nobody ends."""
    draw = random.Random(seed)
    plain = {"lines": ["1", "2", "3"], "limit": 100, "mode": "NEVER", "typed": []}
    agents = [{"name": name, **plain} for name in ("ann", "bob")]
    return {"agents": agents, "first": "0", "max_turns": draw.randint(1, 9)}


def group(seed):
    """kind: how the next speaker is found. sender: "user", who is outside, or one of the group."""
    draw = random.Random(seed)
    names = ["a", "b", "c", "d"][: draw.randint(2, 4)]
    agents = [member(draw, name) for name in names]
    if draw.random() < 0.7:  # else most talks end by the second message
        for one in agents:
            one |= {"mode": "NEVER", "limit": 3, "lines": ["네", "ok"]}
    case = {"agents": agents, "first": "시작", "max_round": draw.randint(1, 12)}
    case |= {"sender": draw.choice(["user", "user", names[0]]), "rule": "round_robin", "repeat": None}
    case["kind"] = draw.choice(["repeat", "allowed", "disallowed", "manual", "function"])
    if case["kind"] == "repeat":
        case["repeat"] = draw.choice([True, False, names[:1]])
    elif case["kind"] == "manual":
        case |= {"rule": "manual", "picks": draw.choices(["1", "2", "", "q", "9", "x"], k=draw.randint(0, 9))}
    elif case["kind"] == "function":
        case |= {
            "rule": "function",
            "picks": draw.choices([*names, "round_robin", None], [3] * len(names) + [2, 1], k=5),
        }
    else:
        most = len(names) - (case["kind"] == "disallowed")  # nobody may be left without a follower
        follows = {one: sorted(draw.sample(names, draw.randint(1, most))) for one in names}
        left_out = draw.sample(names, draw.choice([0, 0, 1]))
        case["transitions"] = {one: who for one, who in follows.items() if one not in left_out}
    return case


def chosen(case, named):
    """(speaker_selection_method, its options), with agents for their names."""
    named, rule = named | {None: None, "round_robin": "round_robin"}, case["rule"]
    repeat = case["repeat"]
    more = {"allow_repeat_speaker": [named[one] for one in repeat] if isinstance(repeat, list) else repeat}
    if "transitions" in case:
        follows = {named[one]: [named[two] for two in who] for one, who in case["transitions"].items()}
        more = {
            "allowed_or_disallowed_speaker_transitions": follows,
            "speaker_transitions_type": case["kind"],
        }
    if rule != "function":
        return rule, more
    return lambda last, chat: named[case["picks"][len(chat.messages) % len(case["picks"])]], more


CASES = {
    "two": [two_agents(seed) for seed in range(200)],
    "turns": [turns(seed) for seed in range(10)],
    "group": [group(seed) for seed in range(300)],
}
