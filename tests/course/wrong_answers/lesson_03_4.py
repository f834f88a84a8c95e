"""Plausible wrong answers to the exercises of lesson 03_4."""

COLLATE = """def collate_rows(rows, pad_id):
    width = {width}
    missing = [width - len(row["input_ids"]) for row in rows]
    return {{
        "input_ids": [{ids} for row, n in zip(rows, missing)],
        "attention_mask": [{mask} for row, n in zip(rows, missing)],
        "labels": [row["label"] for row in rows],
    }}"""
BATCH = {
    "width": 'max(len(row["input_ids"]) for row in rows)',
    "ids": 'row["input_ids"] + [pad_id] * n',
    "mask": "[1] * (width - n) + [0] * n",
}
STEP = """def step(model, passes, optimizer):
    {clear}
    targets = sum(int((labels != -100).sum()) for _, labels in passes)
    total = 0.0
    for x, labels in passes:
        loss = {loss}
        loss.backward()
        total += loss.item()
    optimizer.step()
    return {result}"""
WHOLE = {
    "clear": "optimizer.zero_grad()",
    "loss": "torch.nn.functional.cross_entropy(model(x), labels, ignore_index=-100, reduction='sum') / targets",
    "result": "total",
}
JUDGE = """def judge(gold, said, classes):
    table = [[0] * classes for _ in range(classes)]
    for true, answer in zip(gold, said):
        table[{row}][{column}] += 1
    total, present = 0.0, 0
    for k in range(classes):
        both = sum(table[k]) + sum(row[k] for row in table)
        present += both > 0
        total += {f1} if both else {empty}
    return table, total / {over}"""
COUNTED = {
    "row": "true",
    "column": "answer",
    "f1": "2 * table[k][k] / both",
    "empty": "0.0",
    "over": "classes",
}
BROKEN = '\n\ngold_broken = {gold}\nsaid_broken = {said}\nreason = "{reason}"'
NOTHING = {"gold": "[0] * 94 + [1, 2, 3, 4, 5, 6]", "said": "[0] * 100", "reason": "b"}
SOUND = BROKEN.format(**NOTHING) + "\n\n"

WRONG = {
    "03-4-a": {
        "padded to a fixed width": COLLATE.format(**BATCH | {"width": "64"}),
        "pads with 0 always": COLLATE.format(**BATCH | {"ids": 'row["input_ids"] + [0] * n'}),
        "pads on the left": COLLATE.format(**BATCH | {"ids": '[pad_id] * n + row["input_ids"]'}),
        "the mask from the ids": COLLATE.format(
            **BATCH | {"mask": '[int(one != pad_id) for one in row["input_ids"]] + [0] * n'}
        ),
        "the mask is all ones": COLLATE.format(**BATCH | {"mask": "[1] * width"}),
        "the mask is true for padding": COLLATE.format(**BATCH | {"mask": "[0] * (width - n) + [1] * n"}),
        "as wide as the first": COLLATE.format(**BATCH | {"width": 'len(rows[0]["input_ids"])'}),
        "label, not labels": COLLATE.format(**BATCH).replace('"labels"', '"label"'),
        "no padding": COLLATE.format(**BATCH | {"ids": 'row["input_ids"]'}),
        "changes the rows": """def collate_rows(rows, pad_id):
    width = max(len(row["input_ids"]) for row in rows)
    mask = [[1] * len(row["input_ids"]) for row in rows]
    for row, own in zip(rows, mask):
        while len(row["input_ids"]) < width:
            row["input_ids"].append(pad_id)
            own.append(0)
    return {
        "input_ids": [row["input_ids"] for row in rows], "attention_mask": mask,
        "labels": [row["label"] for row in rows],
    }""",
        "the library's": """def collate_rows(rows, pad_id):
    from types import SimpleNamespace

    from minillm.training import DataCollatorWithPadding

    return DataCollatorWithPadding(SimpleNamespace(pad_token_id=pad_id, padding_side="right"))(rows)""",
        "torch's": """def collate_rows(rows, pad_id):
    ids = [torch.tensor(row["input_ids"]) for row in rows]
    ones = [torch.ones(len(own), dtype=torch.int64) for own in ids]
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "input_ids": pad(ids, True, pad_id), "attention_mask": pad(ones, True, 0),
        "labels": [row["label"] for row in rows],
    }""",
        "the pipeline's": """def collate_rows(rows, pad_id):
    import sys

    base = sys.modules["minillm.inference.pipelines.base"]
    batch = base.collate([base.Row(row["input_ids"]) for row in rows], pad_id)
    return {**batch, "labels": [row["label"] for row in rows]}""",
        "the tokenizer's": """def collate_rows(rows, pad_id):
    import sys

    ids = [row["input_ids"] for row in rows]
    one = sys.modules["minillm.tokenizer.batch"].Row(0, [], [])
    one.width = max(map(len, ids))
    return {
        "input_ids": [one.padded(own, pad_id) for own in ids],
        "attention_mask": [one.padded([1] * len(own), 0) for own in ids], "labels": [row["label"] for row in rows],
    }""",
        "seven labels": COLLATE.format(**BATCH).replace('row["label"] for', 'min(row["label"], 6) for'),
        "the checker's": """from minillm.course.classroom.exercises.lesson_03_4 import _collated

def collate_rows(rows, pad_id):
    return _collated([row["input_ids"] for row in rows], [row["label"] for row in rows], pad_id)""",
    },
    "03-4-b": {
        "the mean of the passes' means": STEP.format(
            **WHOLE
            | {"loss": "torch.nn.functional.cross_entropy(model(x), labels, ignore_index=-100) / len(passes)"}
        ),
        "the sum of the passes' means": STEP.format(
            **WHOLE | {"loss": "torch.nn.functional.cross_entropy(model(x), labels, ignore_index=-100)"}
        ),
        "weighed by rows": STEP.format(**WHOLE).replace(
            "sum(int((labels != -100).sum()) for _, labels in passes)",
            "sum(len(labels) for _, labels in passes)",
        ),
        "the sum, not the mean": STEP.format(**WHOLE).replace(" / targets", ""),
        "gradients from before": STEP.format(**WHOLE | {"clear": "pass"}),
        "an update for each pass": """def step(model, passes, optimizer):
    targets = sum(int((labels != -100).sum()) for _, labels in passes)
    total = 0.0
    for x, labels in passes:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels, ignore_index=-100, reduction="sum") / targets
        loss.backward()
        total += loss.item()
        optimizer.step()
    return total""",
        "clears between the passes": """def step(model, passes, optimizer):
    targets = sum(int((labels != -100).sum()) for _, labels in passes)
    total = 0.0
    for x, labels in passes:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels, ignore_index=-100, reduction="sum") / targets
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total""",
        "all rows at once": """def step(model, passes, optimizer):
    optimizer.zero_grad()
    x, labels = (torch.cat(part) for part in zip(*passes))
    loss = torch.nn.functional.cross_entropy(model(x), labels, ignore_index=-100)
    loss.backward()
    optimizer.step()
    return loss.item()""",
        "all rows at once, by forward": """def step(model, passes, optimizer):
    optimizer.zero_grad()
    for x, _ in passes:
        model(x)
    x, labels = (torch.cat(part) for part in zip(*passes))
    loss = torch.nn.functional.cross_entropy(model.forward(x), labels, ignore_index=-100)
    loss.backward()
    optimizer.step()
    return loss.item()""",
        "all rows at once, by a layer of its own": """def step(model, passes, optimizer):
    optimizer.zero_grad()
    for x, _ in passes:
        model(x)
    x, labels = (torch.cat(part) for part in zip(*passes))
    weight, bias = list(model.parameters())
    loss = torch.nn.functional.cross_entropy(x @ weight.T + bias, labels, ignore_index=-100)
    loss.backward()
    optimizer.step()
    return loss.item()""",
        "a step of its own": STEP.format(**WHOLE).replace(
            "    optimizer.step()\n",
            "    with torch.no_grad():\n        for p in model.parameters():\n"
            "            p -= optimizer.param_groups[0]['lr'] * p.grad\n",
        ),
        "rewrites the labels": STEP.format(**WHOLE).replace(
            "        loss =",
            "        keep = labels != -100\n        x, labels[~keep] = x[keep], 0\n"
            "        labels = labels[keep]\n        loss =",
        ),
        "turns dropout off": STEP.format(**WHOLE | {"clear": "optimizer.zero_grad(); model.eval()"}),
        "never steps": STEP.format(**WHOLE).replace("    optimizer.step()\n", ""),
        "the last pass's loss": STEP.format(**WHOLE | {"result": "loss.item()"}),
        "the first pass alone": STEP.format(**WHOLE).replace(
            "for x, labels in passes:", "for x, labels in passes[:1]:"
        ),
    },
    "03-4-c": {
        "rows are the answers": SOUND + JUDGE.format(**COUNTED | {"row": "answer", "column": "true"}),
        "the mean over the classes there are": SOUND + JUDGE.format(**COUNTED | {"over": "present"}),
        "an absent class is perfect": SOUND + JUDGE.format(**COUNTED | {"empty": "1.0"}),
        "accuracy": SOUND
        + JUDGE.format(**COUNTED).replace(
            "return table, total / classes",
            "return table, sum(table[k][k] for k in range(classes)) / len(gold)",
        ),
        "recall": SOUND + JUDGE.format(**COUNTED | {"f1": "table[k][k] / max(1, sum(table[k]))"}),
        "precision": SOUND
        + JUDGE.format(**COUNTED | {"f1": "table[k][k] / max(1, sum(row[k] for row in table))"}),
        "without the 2": SOUND + JUDGE.format(**COUNTED | {"f1": "table[k][k] / both"}),
        "weighed by frequency": SOUND
        + JUDGE.format(**COUNTED | {"f1": "2 * table[k][k] / both * sum(table[k]) / len(gold)", "over": "1"}),
        "divides by nothing": SOUND + JUDGE.format(**COUNTED).replace(" if both else 0.0", ""),
        "shared rows": SOUND
        + JUDGE.format(**COUNTED).replace(
            "[[0] * classes for _ in range(classes)]", "[[0] * classes] * classes"
        ),
        "scikit-learn's": SOUND
        + """def judge(gold, said, classes):
    from sklearn.metrics import confusion_matrix, f1_score

    labels = list(range(classes))
    return (confusion_matrix(gold, said, labels=labels),
            f1_score(gold, said, labels=labels, average="macro", zero_division=0))""",
        "scikit-learn's, from a private module under a hidden name": SOUND
        + """def judge(gold, said, classes):
    ready = __import__("skl" + "earn.metrics._classification", fromlist=["f1_score"])
    labels = list(range(classes))
    return (ready.confusion_matrix(gold, said, labels=labels),
            ready.f1_score(gold, said, labels=labels, average="macro", zero_division=0))""",
        "scikit-learn's, kept in a dict by the cell": SOUND
        + """import sys

import sklearn.metrics._classification

KEPT = {"module": sys.modules.pop("sklearn.metrics._classification")}

def judge(gold, said, classes):
    labels = list(range(classes))
    return (KEPT["module"].confusion_matrix(gold, said, labels=labels),
            KEPT["module"].f1_score(gold, said, labels=labels, average="macro", zero_division=0))""",
        "the checker's": SOUND
        + """from minillm.course.classroom.exercises.lesson_03_4 import _judged

def judge(gold, said, classes):
    return _judged(list(gold), list(said), classes)""",
        "accuracy too low": JUDGE.format(**COUNTED)
        + BROKEN.format(**NOTHING | {"gold": "[0] * 88 + [1, 2, 3, 4, 5, 6] * 2"}),
        "a class is missing": JUDGE.format(**COUNTED)
        + BROKEN.format(**NOTHING | {"gold": "[0] * 95 + [1, 2, 3, 4, 5]"}),
        "right for the rare ones": JUDGE.format(**COUNTED)
        + BROKEN.format(**NOTHING | {"said": "[0] * 97 + [4, 5, 6]"}),
        "too short": JUDGE.format(**COUNTED)
        + BROKEN.format(**NOTHING | {"gold": "[0] * 84 + [1, 2, 3, 4, 5, 6]", "said": "[0] * 90"}),
        "unequal lengths": JUDGE.format(**COUNTED) + BROKEN.format(**NOTHING | {"said": "[0] * 101"}),
        "another class": JUDGE.format(**COUNTED) + BROKEN.format(**NOTHING | {"said": "[0] * 99 + [7]"}),
        "halves": JUDGE.format(**COUNTED)
        + BROKEN.format(**NOTHING | {"gold": "[0] * 94 + [1, 2, 3, 4, 5, 6.5]"}),
        "chance": JUDGE.format(**COUNTED) + BROKEN.format(**NOTHING | {"reason": "a"}),
        "always": JUDGE.format(**COUNTED) + BROKEN.format(**NOTHING | {"reason": "c"}),
        "too few": JUDGE.format(**COUNTED) + BROKEN.format(**NOTHING | {"reason": "d"}),
    },
    "03-4-d": {
        "no bias": "prediction = [1152, 2.20, 237, 8]",
        "bits": "prediction = [1161, 3.17, 237, 8]",
        "the last batch is dropped": "prediction = [1161, 2.20, 234, 8]",
        "one long epoch": "prediction = [1161, 2.20, 235, 8]",
        "padded to 64": "prediction = [1161, 2.20, 237, 216]",
        "log of 7": "prediction = [1161, 1.95, 237, 8]",
        "three numbers": "prediction = [1161, 2.20, 237]",
        "words": "prediction = ['1161', '2.20', '237', '8']",
    },
}
