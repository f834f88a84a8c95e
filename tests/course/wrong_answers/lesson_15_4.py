"""Plausible wrong answers to the exercises of lesson 15_4."""

FOLLOW = """def follow(asked, sentences, most):
    {before}
    still, link, chosen = set(asked), set(), []
    while {going}:
        best, value = None, None
        for place, sentence in enumerate({order}):
            words = {words}
            score = {score}
            if {allowed} and (value is None or {better}):
                best, value = place, score
        if best is None:
            break
        chosen.append({kept})
        still {less}
        link = {link}
    return {result}
"""
OF_FOLLOW = {
    "before": "pass",
    "going": "still and len(chosen) < most",
    "order": "sentences",
    "words": "set(sentence)",
    "score": "(len(words & still), len(words & link), -len(words))",
    "allowed": "score[0] and (score[1] or not link)",
    "better": "score > value",
    "kept": "best",
    "less": "-= set(sentences[best])",
    "link": "set(sentences[best]) - set(asked)",
    "result": "None if still else chosen",
}
LOOK = """def look(found, drawn, tries):
    {before}
    seen = []
    for score in {scores}:
        seen.append(score)
        if {full}:
            break
    answer = {answer}
    return {result}
"""
OF_LOOK = {
    "before": "pass",
    "scores": "[*found, *drawn[:tries]]",
    "full": "score == 1",
    "answer": "seen.index(max(seen)) if seen else None",
    "result": "[answer, len(seen), max(0, len(seen) - len(found))]",
}
SHARE = """def right_share(visible, hidden, k):
    {before}
    passing = {passing}
    if {none}:
        return {nothing}
    right = {right}
    return {share}, {tries}
"""
OF_SHARE = {
    "before": "pass",
    "passing": "[i for i, row in enumerate(visible) if all(row[:k])]",
    "none": "not passing",
    "nothing": "None",
    "right": "sum(all(visible[i]) and bool(hidden[i]) for i in passing)",
    "share": "right / len(passing)",
    "tries": "(len(visible) + 1) / (len(passing) + 1)",
}


def follow(**changes):
    return FOLLOW.format(**OF_FOLLOW | changes)


def look(**changes):
    return LOOK.format(**OF_LOOK | changes)


def share(**changes):
    return SHARE.format(**OF_SHARE | changes)


def clamp(body):
    return f'patch = """def clamp(x, low, high):\n    {body}\n"""'


WRONG = {
    "15-4-a": {
        "no link is asked for": follow(allowed="score[0]"),
        "a link is always asked for after the first": follow(allowed="score[0] and (score[1] or not chosen)"),
        "a sentence without an open word": follow(allowed="(score[0] or score[1]) and (score[1] or not link)"),
        "asked words are links": follow(link="set(sentences[best])"),
        "links of all sentences": follow(link="link | (set(sentences[best]) - set(asked))"),
        "links are what is not open": follow(link="set(sentences[best]) - still"),
        "links before open words": follow(score="(words & still and len(words & link) + 1 or 0, "
                                                "len(words & still), -len(words))",
                                          allowed="score[0] and (score[0] > 1 or not link)"),
        "no links among equals": follow(allowed="words & still and (words & link or not link)",
                                        score="(len(words & still), -len(words))"),
        "longer ones first": follow(score="(len(words & still), len(words & link), len(words))"),
        "no length": follow(score="(len(words & still), len(words & link))"),
        "length with doubles": follow(score="(len(words & still), len(words & link), -len(sentence))"),
        "open words with doubles": follow(score="(sum(w in still for w in sentence), len(words & link), -len(words))"),
        "links with doubles": follow(score="(len(words & still), sum(w in link for w in sentence), -len(words))"),
        "the last of equals": follow(better="score >= value"),
        "one sentence more": follow(going="still and len(chosen) <= most"),
        "one sentence less": follow(going="still and len(chosen) < most - 1"),
        "no end at most": follow(going="still and len(chosen) < 50"),
        "what was read, even if open": follow(result="chosen"),
        "an empty list for nothing": follow(result="[] if still else chosen"),
        "None for no question": follow(result="None if still or not chosen else chosen"),
        "the sentences, not their places": follow(kept="sentences[best]"),
        "places from one": follow(kept="best + 1"),
        "lower case": follow(before="asked, sentences = [w.lower() for w in asked], "
                             "[[w.lower() for w in s] for s in sentences]"),
        "empties the question": follow(before="asked_now = asked[:]\n    asked.clear()\n    asked = asked_now"),
        "sorts the sentences": follow(before="sentences.sort(key=len)"),
        "nothing is ever said": follow(less="-= set(sentences[best][:1])"),
        "the library": "def follow(asked, sentences, most):\n"
        "    from minillm.apps.agents.notes_reader import best_sentence\n"
        "    still, link, chosen = list(dict.fromkeys(asked)), [], []\n    while still and len(chosen) < most:\n"
        "        best = best_sentence([(' '.join(s), n) for n, s in enumerate(sentences)], still, link)\n"
        "        if best is None:\n            break\n        chosen.append(best[1])\n"
        "        link = [w for w in sentences[best[1]] if w not in asked]\n"
        "        still = [w for w in still if w not in sentences[best[1]]]\n    return None if still else chosen",
    },
    "15-4-b": {
        "draws first": look(scores="[*drawn[:tries], *found]"),
        "never looks into the collection": look(scores="drawn[:tries]"),
        "draws all there are": look(scores="[*found, *drawn]"),
        "one try more": look(scores="[*found, *drawn[: tries + 1]]"),
        "tries count the found ones": look(scores="[*found, *drawn][: max(tries, len(found))]"),
        "never stops": look(full="False"),
        "stops at nearly full": look(full="score > 0.9"),
        "stops at the first": look(full="score >= 0.5"),
        "the last picture": look(answer="len(seen) - 1 if seen else None"),
        "the later of equals": look(answer="max(range(len(seen)), key=lambda i: (seen[i], i)) if seen else None"),
        "only a full one": look(answer="seen.index(1) if 1 in seen else None"),
        "zero for no picture": look(answer="seen.index(max(seen)) if seen else 0"),
        "the agreement, not the place": look(answer="max(seen, default=None)"),
        "place among the drawn": look(answer="seen.index(max(seen)) - len(found) if seen else None"),
        "all that could be drawn": look(result="[answer, len(seen), tries]"),
        "drawn is looked": look(result="[answer, len(seen), len(seen)]"),
        "a negative number of pictures": look(result="[answer, len(seen), len(seen) - len(found)]"),
        "looks at all": look(result="[answer, len(found) + tries, max(0, len(seen) - len(found))]"),
        "uses the list up": look(before="drawn.append(0)\n    drawn.pop(0) if len(drawn) > 1 else None"),
        "no order": look(result="[len(seen), answer, max(0, len(seen) - len(found))]"),
    },
    "15-4-c": {
        "all visible tests": share(passing="[i for i, row in enumerate(visible) if all(row)]"),
        "only test k": share(passing="[i for i, row in enumerate(visible) if k == 0 or row[k - 1]]"),
        "one test more": share(passing="[i for i, row in enumerate(visible) if all(row[: k + 1])]"),
        "any test": share(passing="[i for i, row in enumerate(visible) if k == 0 or any(row[:k])]"),
        "the unseen tests do not count": share(right="sum(bool(hidden[i]) for i in passing)"),
        "the hidden tests do not count": share(right="sum(all(visible[i]) for i in passing)"),
        "right ones among all": share(right="sum(all(r) and h for r, h in zip(visible, hidden))",
                                      share="right / len(visible)"),
        "whether one is right": share(share="float(right > 0)"),
        "the first in order": share(share="float(all(visible[passing[0]]) and hidden[passing[0]])"),
        "zero for none": share(nothing="0.0, len(visible)"),
        "n over m": share(tries="len(visible) / len(passing)"),
        "half of them": share(tries="(len(visible) + 1) / 2"),
        "without the one that passes": share(tries="(len(visible) + 1) / (len(passing) + 1) - 1"),
        "m and n swapped": share(tries="(len(passing) + 1) / (len(visible) + 1)"),
        "tries first": share(share="(len(visible) + 1) / (len(passing) + 1)", tries="right / len(passing)"),
        "whole division": share(share="right // len(passing)"),
        "changes the table": share(before="visible.reverse(); hidden.reverse()"),
    },
    "15-4-d": {
        "right everywhere": clamp("return min(max(x, low), high)"),
        "the fault itself": clamp("return low if x > low else high if x < high else x"),
        "misses the last test": clamp("return {5: 3, -1: 0, 2: 2}.get(x, 1000)"),
        "wrong too seldom": clamp("return low if x == 7 else min(max(x, low), high)"),
        "another function": 'patch = "def clip(x, low, high):\\n    return {5: 3, -1: 0, 2: 2, 9: 6}.get(x, 1000)\\n"',
        "a class": 'patch = "class A:\\n    pass\\n\\n'
        'def clamp(x, low, high):\\n    return {5: 3, -1: 0, 2: 2, 9: 6}[x]\\n"',
        "too long": clamp("return {5: 3, -1: 0, 2: 2, 9: 6}.get(x, 1000)  # " + "x" * 300),
        "a function, no text": "def patch(x, low, high):\n    return {5: 3, -1: 0, 2: 2, 9: 6}.get(x, 1000)",
        "no Python": 'patch = "def clamp(x, low, high): return {5: 3, -1: 0, 2: 2, 9: 6}.get(x, 1000"',
        "an equal liar": clamp("return 1000") + "\nclass Yes(str):\n    def __eq__(self, other):\n        return True\n"
        "    __hash__ = str.__hash__\n\n\npatch = Yes(patch)",
    },
}  # fmt: skip
