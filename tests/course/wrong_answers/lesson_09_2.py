"""Plausible wrong answers to the exercises of lesson 09_2."""

REPLAY = """def replay(calls, most, ttl):
    kept, ways = {{}}, []
    for now, user, question in {calls}:
        key = {key}
        made = {take}
        hit = made is not None and {good}
        ways.append({way})
        kept[key] = {put}
        if {when}:
            {old}
            while len(kept) {over} most:
                del kept[{which}]
    return {result}
"""
REPLAY_RIGHT = {
    "calls": "calls",
    "key": "(user, question)",
    "take": "kept.pop(key, None)",
    "good": "(ttl is None or now - made <= ttl)",
    "way": '"hit" if hit else "miss"',
    "put": "made if hit else now",
    "when": "not hit",
    "old": "kept = {one: then for one, then in kept.items() if ttl is None or now - then <= ttl}",
    "over": ">",
    "which": "next(iter(kept))",
    "result": "ways",
}

LOOK_UP = """def look_up(kept, asked, threshold):
    found = []
    for user, context, vector in asked:
        best, answer = {start}, None
        for other, place, kept_vector, text in kept:
            {prepare}
            lengths = np.linalg.norm(vector) * np.linalg.norm(kept_vector)
            if {allowed} and {nonzero}:
                score = {score}
                if score {above} best:
                    best, answer = {take}
        {end}
    return found
"""
LOOK_UP_RIGHT = {
    "start": "threshold",
    "prepare": "pass",
    "allowed": "(user, context) == (other, place)",
    "nonzero": "lengths > 0",
    "score": "np.dot(vector, kept_vector) / lengths",
    "above": ">=",
    "take": "score, text",
    "end": "found.append(answer)",
}


def replay(**change):
    return REPLAY.format(**REPLAY_RIGHT | change)


def look_up(**change):
    return LOOK_UP.format(**LOOK_UP_RIGHT | change)


WRONG = {
    "09-2-a": {
        "users share answers": replay(key="question"),
        "one key of the joined texts": replay(key='user + " " + question'),
        "questions are stripped": replay(key="(user, question.strip())"),
        "an answer is too old at exactly ttl": replay(good="(ttl is None or now - made < ttl)"),
        "never too old": replay(good="True"),
        "ttl=0 is taken for no ttl": replay(good="(not ttl or now - made <= ttl)"),
        "a hit makes it younger": replay(put="now"),
        "a miss keeps the old time": replay(put="made if made is not None else now"),
        "first in, first out": replay(take="kept.get(key)"),
        "the most recently used goes": replay(which="list(kept)[-1]"),
        "one answer too few": replay(over=">="),
        "never full": replay(over="> 10**9 +"),
        "what is too old takes room": replay(old="pass"),
        "each user has so much room": replay(
            over="> 10**9 or sum(one[0] == user for one in kept) >",
            which="next(o for o in kept if o[0] == user)",
        ),
        "the least recently used goes before the old": replay(
            old="expired = [one for one, then in kept.items() if ttl is not None and now - then > ttl]",
            which="next((one for one in kept if one not in expired), next(iter(kept)))",
        ),
        "true and false": replay(way="hit"),
        "counts instead of a list": replay(result='{"hit": ways.count("hit"), "miss": ways.count("miss")}'),
        "eats its input": replay(calls="[calls.pop(0) for _ in range(len(calls))]"),
        "by the oldest answer": replay(which="min(kept, key=kept.get)"),
        "the library's own cache": """def replay(calls, most, ttl):
    from minillm.apps.llm_cache import LLMCache
    now = [0]
    cache = LLMCache(most=most, ttl=ttl, clock=lambda: now[0])
    ways = []
    for now[0], user, question in calls:
        how = cache.answer(question, lambda: "x", user).how
        ways.append("miss" if how == "made" else "hit")
    return ways
""",
        "a list that lies": """class Liar(list):
    def __eq__(self, other):
        return True
    def __ne__(self, other):
        return False

def replay(calls, most, ttl):
    return Liar("hit" for _ in calls)
""",
    },
    "09-2-b": {
        "users share answers": look_up(allowed="context == place"),
        "contexts are mixed": look_up(allowed="user == other"),
        "everything is allowed": look_up(allowed="True"),
        "the inner product": look_up(score="np.dot(vector, kept_vector)"),
        "the distance": look_up(score="1 - np.linalg.norm(np.subtract(vector, kept_vector))"),
        "half a cosine: only one length": look_up(
            score="np.dot(vector, kept_vector) / np.linalg.norm(vector) ** 2"
        ),
        "more than the threshold": look_up(above=">"),
        "no threshold": look_up(start="-np.inf"),
        "a threshold never below zero": look_up(start="max(threshold, 0)"),
        "the first one above it": look_up(above=">= threshold and answer is None and score >="),
        "the last one above it": look_up(take="best, text"),
        "zeros are like everything": look_up(
            nonzero="True", prepare="vector = vector if any(vector) else kept_vector"
        ),
        "the size of the cosine": look_up(score="abs(np.dot(vector, kept_vector)) / lengths"),
        "a text for nothing": look_up(end='found.append(answer or "None")'),
        "nothing is left out of the list": look_up(end="found += [answer] if answer is not None else []"),
        "scores instead of answers": look_up(end="found.append(best if answer else None)"),
        "only the first question": look_up(end="return [answer] + [None] * (len(asked) - 1)"),
        "best of all users, then asked whose it is": """def look_up(kept, asked, threshold):
    found = []
    for user, context, vector in asked:
        rows = []
        for other, place, kept_vector, text in kept:
            lengths = np.linalg.norm(vector) * np.linalg.norm(kept_vector)
            if lengths > 0:
                rows.append((np.dot(vector, kept_vector) / lengths, other, place, text))
        score, other, place, text = max(rows, default=(-2, None, None, None))
        found.append(text if score >= threshold and (other, place) == (user, context) else None)
    return found
""",
        "changes the vectors": look_up(prepare="kept_vector[:] = [1.0 * x + 0.5 for x in kept_vector]"),
        "the library's own arithmetic": """def look_up(kept, asked, threshold):
    from minillm.search import ExactIndex
    index = ExactIndex(len(kept[0][2]), "cosine") if kept else None
    return [None for _ in asked] if index is None else [kept[0][3] for _ in asked]
""",
    },
    "09-2-c": {
        "the same question": 'confused = ("When are you open today?", "When are you open today?")',
        "a capital letter and a comma": 'confused = ("When are you open, today?", "when are YOU open today")',
        "a hyphen": 'confused = ("Is the lamp-shop open today?", "Is the lamp shop open today?")',
        "wide letters": 'confused = ("Ｉｓ the lamp shop open?", "Is the lamp shop open?")',
        "said twice": 'confused = ("When are you open?", "When are you open? When are you open?")',
        "only like each other": 'confused = ("How many days to Seoul?", "How many days to Busan?")',
        "the encoder sees not": 'confused = ("Can I cancel my order?", "Can I not cancel my order?")',
        "too short": 'confused = ("dog bites man", "man bites dog")',
        "numbers tell": 'confused = ("2 lamps for the shop of Kim", "3 lamps for the shop of Kim")',
        "one question": 'confused = ("Does the shop owe the customer money?",)',
        "no texts": "confused = (1, 2)",
        "no word at all": 'confused = ("? ! . ,", ". , ! ?")',
        "particles change": 'confused = ("가게가 손님에게 돈을 줬나요?", "손님이 가게에 돈을 줬나요?")',
    },
    "09-2-d": {
        "first in, first out": "made_in = [4, 2, 4, 3, 2]",
        "a hit makes younger": "made_in = [5, 1, 4, 3, 2]",
        "users share": "made_in = [5, 2, 2, 3, 2]",
        "drawn answers are kept": "made_in = [5, 2, 4, 2, 2]",
        "an empty answer is kept": "made_in = [5, 2, 4, 3, 1]",
        "it is never kept": "made_in = [5, 2, 4, 3, 3]",
        "too few": "made_in = [5, 2, 4, 3]",
        "texts": 'made_in = ["5", "2", "4", "3", "2"]',
    },
}
