"""Checkers of lesson 03_4, training a classifier."""

import copy

import torch

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    plain,
    shown,
)

COLLATE = "build the batch yourself"
JUDGE = "count yourself"


@exercise("03-4-a", points=3)
def collate_rows(answer):
    """A padded batch."""
    copied = copied_library(answer)
    assert not copied, f"{COLLATE}: your answer uses {copied}"
    names = [
        "minillm.training.collators.pad",
        "minillm.training.collators.DataCollatorWithPadding.__call__",
        "minillm.training.batches.padded",
        "minillm.inference.pipelines.base.collate",
        "minillm.tokenizer.batch.Row.padded",
        "minillm.data.characters._padded",
        "torch.nn.utils.rnn.pad_sequence",
        "torch._C._nn.pad_sequence",
        "torch.nested.to_padded_tensor",
    ]
    for case in cases(rows=(1, 2, 5), longest=(1, 3, 9), pad_id=(0, 1, 7)):
        inputs = Inputs(case.seed)
        lengths = [inputs.integer(1, case.longest) for _ in range(case.rows)]
        ids = [inputs.integers(length, 0, 8) for length in lengths]  # the id of padding stands in texts, too
        labels = inputs.integers(case.rows, -1, 12)
        rows = [{"input_ids": own, "label": label} for own, label in zip(ids, labels)]
        expected = _collated(ids, labels, case.pad_id)
        given = copy.deepcopy(rows)
        with forbid(COLLATE, *names, answer=answer):
            found = plain(answer(given, case.pad_id))
        hint = f"input_ids {shown(ids)}, pad_id {case.pad_id}"
        assert isinstance(found, dict), f"{hint}: return a dict of three lists, got {shown(found)}"
        missing = [name for name in expected if name not in found]
        assert not missing, f"{hint}: the batch lacks {', '.join(missing)}; it has {sorted(map(str, found))}"
        strange = [str(name) for name in found if name not in expected]
        assert not strange, f"{hint}: the batch has {', '.join(strange)}, which nobody asked for"
        for name, values in expected.items():
            expect(found[name], values, hint=f"{hint}: {name}")
        expect(given, rows, hint=f"{hint}: the rows that you are given must stay as they are")


def _collated(ids, labels, pad_id):
    width = max(map(len, ids))
    return {
        "input_ids": [[own[i] if i < len(own) else pad_id for i in range(width)] for own in ids],
        "attention_mask": [[int(i < len(own)) for i in range(width)] for own in ids],
        "labels": list(labels),
    }


@exercise("03-4-b", points=3)
def step(answer):
    """Several passes, one update."""
    copied = copied_library(answer)
    assert not copied, f"write the step yourself: your answer uses {copied}"
    for case in cases(
        sizes=((3,), (2, 2), (1, 4, 2), (5, 1)),
        ignored=("none", "some", "a whole pass"),
        before=(False, True),
        training=(True, True, False),
        lr=(0.5, 0.05),
        decay=(0.0, 0.1),
    ):
        if case.ignored == "a whole pass" and len(case.sizes) == 1:
            continue
        inputs = Inputs(case.seed)
        passes = _passes(inputs, case)
        sizes: list[int] = []
        model = _watched(inputs, sizes)
        start = {name: value.clone() for name, value in model.state_dict().items()}
        optimizer = torch.optim.SGD(model.parameters(), lr=case.lr, weight_decay=case.decay)
        expected, weights = _one_batch(model, passes, case)
        if case.before:
            for parameter in model.parameters():
                parameter.grad = inputs.tensor(*parameter.shape)
        model.train(case.training)
        sizes.clear()
        given = [(x.clone(), labels.clone()) for x, labels in passes]
        found = answer(model, given, optimizer)
        real = [int((labels != -100).sum()) for _, labels in passes]
        hint = f"passes of {list(case.sizes)} rows with {real} real labels"
        hint += ", gradients from before" if case.before else ""
        (loss,) = as_floats([plain(found)], "the loss")
        expect(loss, expected, 1e-4, f"{hint}: the loss, the mean over all real labels together")
        for name, value in model.state_dict().items():
            assert not torch.equal(value, start[name]), f"{hint}: {name} did not move"
            expect(value, weights[name], 1e-4, f"{hint}: {name} after the step")
        assert sorted(sizes) == sorted(case.sizes) or sorted(sizes) == sorted(
            size for size, labels in zip(case.sizes, real) if labels
        ), f"{hint}: model(x) must be called once for each pass, it was called with {sizes} rows"
        assert model.training == case.training, f"{hint}: the model must stay in the mode it was in"
        expect(
            [list(one) for one in given], [list(one) for one in passes], hint=f"{hint}: the passes must stay"
        )


def _watched(inputs, sizes):
    """A model of two layers that notes how many rows it reads; whoever copies it or calls its forward is noted, too."""

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = torch.nn.Linear(4, 5), torch.nn.Linear(5, 3)

        def forward(self, x):
            sizes.append(len(x))
            return self.second(self.first(x).tanh())

    model = Two()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(inputs.tensor(*parameter.shape))
    return model


def _passes(inputs, case):
    passes = []
    for number, size in enumerate(case.sizes):
        labels = torch.tensor(inputs.integers(size, 0, 2))
        if case.ignored == "some" and size > 1:
            labels[0] = -100
        if case.ignored == "a whole pass" and number == 1:
            labels[:] = -100
        passes.append((inputs.tensor(size, 4), labels))
    return passes


def _one_batch(model, passes, case):
    """(loss, weights) after one step of SGD with all rows in one batch, on a copy of the model."""
    whole = copy.deepcopy(model)
    x, labels = (torch.cat(part) for part in zip(*passes))
    real = labels != -100
    log_probabilities = whole(x[real]).log_softmax(-1)
    loss = -log_probabilities[torch.arange(int(real.sum())), labels[real]].mean()
    gradients = torch.autograd.grad(loss, list(whole.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(whole.parameters(), gradients):
            parameter -= case.lr * (gradient + case.decay * parameter)
    return loss.item(), {name: value.clone() for name, value in whole.state_dict().items()}


@exercise("03-4-c", points=4)
def judge(answer):
    """Confusion matrix and macro-F1, and lists on which accuracy says nothing."""
    found = answer if isinstance(answer, dict) else {}
    missing = [name for name in ("judge", "gold", "said", "reason") if name not in found]
    assert not missing, f"the answer lacks {', '.join(missing)}"
    _check_judge(found["judge"])
    gold, said = (as_floats(found[name], f"{name}_broken") for name in ("gold", "said"))
    assert len(gold) == len(said), f"the lists must be equally long, got {len(gold)} and {len(said)}"
    assert 100 <= len(gold) <= 1000, f"the lists must have 100 to 1,000 numbers, got {len(gold)}"
    strange = [one for one in gold + said if one not in range(7)]
    assert not strange, f"classes are whole numbers from 0 to 6, got {shown(strange[:1])}"
    gold, said = (list(map(int, one)) for one in (gold, said))
    absent = sorted(set(range(7)) - set(gold))
    assert not absent, f"every class must stand in gold_broken, {absent[:1]} does not"
    right = sum(a == b for a, b in zip(gold, said)) / len(gold)
    assert right >= 0.9, f"the accuracy must be at least 0.9, it is {right:.3f}"
    score = _judged(gold, said, 7)[1]
    assert score <= 0.2, f"macro-F1 must be at most 0.2, it is {score:.3f}"
    reason = plain(found["reason"], "reason")
    assert isinstance(reason, str), f"reason is a letter from a to d, got {shown(reason)}"
    assert reason.strip().lower() == "b", (
        f"reason: {shown(reason)} is not it. What are the F1 scores of the seven classes in your lists?"
    )


def _check_judge(answer):
    copied = copied_library(answer)
    assert not copied, f"{JUDGE}: your answer uses {copied}"
    for case in cases(size=(1, 2, 30, 200), classes=(1, 2, 3, 7), skew=(False, True)):
        inputs = Inputs(case.seed)
        top = max(0, case.classes - 2) if case.skew else case.classes - 1  # the last class may be absent
        gold, said = inputs.integers(case.size, 0, top), inputs.integers(case.size, 0, top)
        expected = _judged(gold, said, case.classes)
        given = [list(gold), list(said)]
        with forbid(JUDGE, answer=answer, packages=("sklearn", "torchmetrics")):
            found = as_list(answer(*given, case.classes), "the answer", 2)
        hint = f"gold {shown(gold)}, said {shown(said)}, {case.classes} classes"
        expect(found[0], expected[0], hint=f"{hint}: the matrix; rows are the true classes")
        expect(found[1], expected[1], 1e-6, f"{hint}: macro-F1")
        expect(given, [gold, said], hint=f"{hint}: the lists that you are given must stay as they are")


def _judged(gold, said, classes):
    pairs = list(zip(gold, said))
    table = [[pairs.count((true, one)) for one in range(classes)] for true in range(classes)]
    scores = []
    for k in range(classes):
        both = gold.count(k) + said.count(k)
        scores.append(2 * table[k][k] / both if both else 0.0)
    return table, sum(scores) / classes


@exercise("03-4-d", points=2)
def counted(answer):
    """Head, loss, updates, padding."""
    found = as_floats(answer, "the prediction", 4)
    hints = (
        "the head: a weight from each of 128 numbers to each of 9 topics, and a bias for each topic",
        "the loss of a model that gives each of 9 topics 1/9",
        "the updates: the last batch of an epoch is smaller, and counts",
        "the padding: what the two shorter headlines lack to 12 tokens",
    )
    tolerances = (0, 0.005, 0, 0)
    for number, expected, tolerance, hint in zip(found, (1161, 2.1972, 237, 8), tolerances, hints):
        expect(number, expected, tolerance, hint)
