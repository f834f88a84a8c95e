"""Plausible wrong answers to the exercises of lesson 02_8."""

CORRUPT = """def corrupt(ids, spans, sentinels):
    inputs, targets, done = [], [], 0
    for (start, stop), sentinel in zip(spans, {sentinels}):
        inputs += [{kept}]
        targets += [{lost}]
        done = {done}
    return {inputs}, {targets}"""
FINE = {
    "sentinels": "sentinels",
    "kept": "*ids[done:start], sentinel",
    "lost": "sentinel, *ids[start:stop]",
    "done": "stop",
    "inputs": "inputs + list(ids[done:])",
    "targets": "targets",
}

LEAK = """def leak(inputs, labels):
    targets = [(given, label) for given, label in zip(inputs, labels){which}]
    return {share}

wrong = "{wrong}"
reason = "{reason}\""""
SOUND = {
    "which": " if label != -100",
    "share": "sum(given == label for given, label in targets) / max(len(targets), 1)",
    "wrong": "c",
    "reason": "b",
}

MASK_WORDS = """def mask(ids, chances, kinds, words, begins, special, mask_id):
    inputs, labels, chance = {copy}, [], 1.0
    for i, token in enumerate(ids):
        if {begins}:
            chance = chances[i]
        chosen = {chosen}
        labels.append({label})
        if chosen and {masked}:
            inputs[i] = mask_id
        elif chosen and {random}:
            inputs[i] = words[i]
    return {result}"""
SOLID = {
    "copy": "list(ids)",
    "begins": "i == 0 or begins[i] or ids[i - 1] in special",
    "chosen": "chance < 0.15 and token not in special",
    "label": "token if chosen else -100",
    "masked": "kinds[i] < 0.8",
    "random": "kinds[i] < 0.9",
    "result": "inputs, labels",
}


def masks(**changes):
    return MASK_WORDS.format(**SOLID | changes)


WRONG = {
    "02-8-a": {
        "a sentinel for every lost token": CORRUPT.format(
            **FINE | {"kept": "*ids[done:start], *[sentinel] * (stop - start)"}
        ),
        "stop is lost, too": CORRUPT.format(
            **FINE | {"lost": "sentinel, *ids[start:stop + 1]", "done": "stop + 1"}
        ),
        "forgets the end of the text": CORRUPT.format(**FINE | {"inputs": "inputs"}),
        "keeps the lost tokens in the input": CORRUPT.format(**FINE | {"done": "start"}),
        "no sentinels in the targets": CORRUPT.format(**FINE | {"lost": "*ids[start:stop]"}),
        "sentinels behind their spans": CORRUPT.format(**FINE | {"lost": "*ids[start:stop], sentinel"}),
        "closes the targets": CORRUPT.format(
            **FINE | {"targets": "targets + list(sentinels[len(spans):len(spans) + 1])"}
        ),
        "one sentinel for all": CORRUPT.format(
            **FINE | {"sentinels": "[sentinels[0]] * len(spans) if spans else []"}
        ),
        "sentinels counted down from the first": CORRUPT.format(
            **FINE | {"sentinels": "[sentinels[0] - i for i in range(len(spans))] if spans else []"}
        ),
        "deletes in the list that it was given": """def corrupt(ids, spans, sentinels):
    targets = []
    for (start, stop), sentinel in reversed(list(zip(spans, sentinels))):
        targets = [sentinel, *ids[start:stop], *targets]
        ids[start:stop] = [sentinel]
    return ids, targets""",
        "the library's": """def corrupt(ids, spans, sentinels):
    mask = np.zeros(len(ids), dtype=bool)
    for start, stop in spans:
        mask[start:stop] = True
    return corrupt_spans(np.array(ids), mask, np.array(sentinels))""",
        "the checker's": """from minillm.course.classroom.exercises.lesson_02_8 import _expected

def corrupt(ids, spans, sentinels):
    return _expected(list(ids), spans, sentinels)""",
        "finds a span by its first token": """def corrupt(ids, spans, sentinels):
    inputs, targets = list(ids), []
    for (start, stop), sentinel in zip(spans, sentinels):
        at = inputs.index(ids[start])
        inputs[at : at + stop - start] = [sentinel]
        targets += [sentinel, *ids[start:stop]]
    return inputs, targets""",
        "the targets first": CORRUPT.format(
            **FINE | {"inputs": "targets", "targets": "inputs + list(ids[done:])"}
        ),
    },
    "02-8-b": {
        "counts the places without a target": LEAK.format(**SOUND | {"which": ""}),
        "of all places": LEAK.format(
            **SOUND | {"share": "sum(given == label for given, label in targets) / max(len(labels), 1)"}
        ),
        "the share that is not in the input": LEAK.format(
            **SOUND | {"share": "sum(given != label for given, label in targets) / max(len(targets), 1)"}
        ),
        "anywhere in the input": LEAK.format(
            **SOUND | {"share": "sum(label in inputs for given, label in targets) / max(len(targets), 1)"}
        ),
        "a count": LEAK.format(**SOUND | {"share": "sum(given == label for given, label in targets)"}),
        "divides by nothing": LEAK.format(
            **SOUND | {"share": "sum(given == label for given, label in targets) / len(targets)"}
        ),
        "a shift": LEAK.format(**SOUND | {"which": " if label != -100"}).replace(
            "zip(inputs,", "zip(inputs[1:],"
        ),
        "the share of the right program": LEAK.format(**SOUND | {"wrong": "a"}),
        "the share that is chosen": LEAK.format(**SOUND | {"wrong": "b"}),
        "everything": LEAK.format(**SOUND | {"wrong": "d"}),
        "more targets": LEAK.format(**SOUND | {"reason": "d"}),
        "overfitting": LEAK.format(**SOUND | {"reason": "a"}),
        "no function": 'wrong = "c"\nreason = "b"\nleak = 0.87',
    },
    "02-8-c": {
        "the first token, too": "prediction = [400, 60, 81, 400]",
        "only the masks": "prediction = [399, 48, 81, 400]",
        "without </s>": "prediction = [399, 60, 80, 400]",
        "the lost tokens alone": "prediction = [399, 60, 60, 400]",
        "only what BART lost": "prediction = [399, 60, 81, 120]",
        "three numbers": "prediction = [399, 60, 81]",
        "one number": "prediction = 400",
    },
    "02-8-d": {
        "every token has a label": masks(label="token"),
        "labels of zero": masks(label="token if chosen else 0"),
        "labels are what goes in": masks(
            result="inputs, [one if l != -100 else -100 for one, l in zip(inputs, labels)]"
        ),
        "a label only where something changed": masks(
            result="inputs, [l if one != l else -100 for one, l in zip(inputs, labels)]"
        ),
        "every chosen token becomes [MASK]": masks(masked="True"),
        "a tenth of the rest is random": masks(random="kinds[i] < 0.82"),
        "a fifth is random": masks(random="True"),
        "a tenth stays, the first one": masks(masked="kinds[i] >= 0.2", random="kinds[i] >= 0.1"),
        "special tokens, too": masks(chosen="chance < 0.15"),
        "by pieces": masks(begins="True"),
        "a special token does not end the word": masks(begins="i == 0 or begins[i]"),
        "the first token begins no word": masks(begins="begins[i] or i > 0 and ids[i - 1] in special"),
        "the border is chosen": masks(chosen="chance <= 0.15 and token not in special"),
        "the border is masked": masks(masked="kinds[i] <= 0.8"),
        "the border is random": masks(random="kinds[i] <= 0.9"),
        "one kind for the whole word": masks(
            begins="(i == 0 or begins[i] or ids[i - 1] in special) and (kind := kinds[i]) is not None",
            masked="kind < 0.8",
            random="kind < 0.9",
        ),
        "masks in the list that it was given": masks(copy="ids"),
        "labels first": masks(result="labels, inputs"),
        "half of the tokens": masks(chosen="chance < 0.5 and token not in special"),
        "the library's": """def mask(ids, chances, kinds, words, begins, special, mask_id):
    first = [i if i == 0 or begins[i] or ids[i - 1] in special else 0 for i in range(len(ids))]
    start = np.maximum.accumulate(first or [0])
    chosen = np.array([chances[start[i]] < 0.15 and ids[i] not in special for i in range(len(ids))], dtype=bool)
    drawn = (np.array(one) for one in (kinds, words))
    return place_masks(np.array(ids), chosen, *drawn, mask_id)""",
    },
}
