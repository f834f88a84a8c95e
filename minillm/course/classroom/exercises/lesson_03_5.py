"""Checkers of lesson 03_5, pipelines by hand."""

import math

import torch

from minillm.course import exercise
from minillm.course.classroom.checkers import Inputs, cases, copied_library, expect, forbid, plain, shown

BUILD = "build it yourself"
ANSWERS = "minillm.inference.pipelines.answers"
ENTITIES = "minillm.inference.pipelines.entities"


@exercise("03-5-a", points=3)
def answer(found):
    """The best span of two rows of logits."""
    copied = copied_library(found)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    for case in cases(
        length=(2, 3, 8, 20), longest=(1, 2, 5, 30), holes=(False, True), backwards=(False, True)
    ):
        start, end, places, inside = _row(Inputs(case.seed), case)
        given = [list(start), list(end), list(places), list(inside)]
        expected = _best(start, end, places, inside, case.longest)
        with forbid(BUILD, f"{ANSWERS}.span_scores", f"{ANSWERS}.best_spans", answer=found):
            result = found(*given, case.longest)
        hint = (
            f"start {shown(start)}, end {shown(end)}, inside {shown(inside)}, at most {case.longest} tokens"
        )
        expect(result, expected, 1e-5, f"{hint}: (from, to, score)")
        expect(given, [start, end, places, inside], hint=f"{hint}: the lists must stay as they are")


def _row(inputs, case):
    """Logits of a question, a context and [CLS]; the tokens outside score well, too."""
    length = case.length
    start, end = inputs.floats(length, -4, 4), inputs.floats(length, -4, 4)
    question = min(inputs.integer(0, 3), length - 2)
    inside = [False] * (1 + question) + [True] * (length - 1 - question)
    if case.holes and length > 4:
        hole = length // 2 + 1
        inside[-1] = inside[hole] = False
        if not case.backwards:  # the best pair has the hole between: three tokens
            start[hole - 1], end[hole + 1] = 7.5, 7.25
    if case.backwards:  # the best end stands before the best start
        mine = [i for i, one in enumerate(inside) if one]
        start[mine[-1]], end[mine[0]] = 9.5, 9.25
    places, at = [], 0
    for one in inside:
        size = inputs.integer(1, 3)
        places.append((at, at + size) if one else (0, 0))
        at += size + 1
    return start, end, places, inside


def _best(start, end, places, inside, longest):
    allowed = [i for i, one in enumerate(inside) if one or i == 0]
    sums = [sum(math.exp(row[i]) for i in allowed) for row in (start, end)]
    spans = [
        (math.exp(start[i]) / sums[0] * math.exp(end[j]) / sums[1], i, j)
        for i in range(len(start)) for j in range(i, min(i + longest, len(start)))
        if inside[i] and inside[j]
    ]  # fmt: skip
    score, i, j = max(spans)
    return [places[i][0], places[j][1], score]


@exercise("03-5-b", points=3)
def names(answer):
    """Labels to names."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    for case in cases(length=(0, 1, 2, 6, 25), tags=(1, 2, 3), gaps=(False, True)):
        inputs = Inputs(case.seed)
        kinds = ["PER", "지명", "PER-x"][: case.tags]
        choices = ["O", *(f"{begin}-{kind}" for kind in kinds for begin in "BII")]
        labels = [choices[i] for i in inputs.integers(case.length, 0, len(choices) - 1)]
        places, at = [], 0
        for _ in labels:
            at += inputs.integer(0, 2) if case.gaps else 0
            places.append((at, at + inputs.integer(1, 4)))
            at = places[-1][1]
        given, expected = [list(labels), list(places)], _names(labels, places)
        with forbid(BUILD, f"{ENTITIES}.grouped", f"{ENTITIES}.split_label", answer=answer):
            found = answer(*given)
        hint = f"labels {shown(labels)}, places {shown(places)}"
        expect(found, expected, hint=hint)
        expect(given, [labels, places], hint=f"{hint}: the lists must stay as they are")


def _names(labels, places):
    found, open_tag = [], None
    for label, (start, end) in zip(labels, places):
        begin, _, tag = label.partition("-")
        if begin == "O":
            open_tag = None
            continue
        if begin == "I" and tag == open_tag:
            found[-1][2] = end
        else:
            found.append([tag, start, end])
        open_tag = tag
    return found


@exercise("03-5-c", points=2)
def padding(answer):
    """A softmax that counts the padding."""
    found = answer if isinstance(answer, dict) else {}
    missing = [name for name in ("row", "length", "why") if name not in found]
    assert not missing, f"the answer lacks {', '.join(missing)}"
    row, length, why = (plain(found[name], name) for name in ("row", "length", "why"))
    assert isinstance(row, list), f"row is a list of logits, got {shown(row)}"
    assert 2 <= len(row) <= 40, f"row has 2 to 40 logits, got {len(row)}"
    good = [isinstance(x, (int, float)) and not isinstance(x, bool) and -20 <= x <= 20 for x in row]
    assert all(good), f"each logit is a number from -20 to 20, got {shown(row)}"
    assert type(length) is int, f"length is an int, got {shown(length)}"
    assert 1 <= length < len(row), (
        f"length is from 1 to {len(row) - 1}, so that there is padding, got {length}"
    )
    best = math.exp(max(row[:length]))
    right, forgetful = (best / sum(math.exp(x) for x in some) for some in (row[:length], row))
    assert right >= 0.9, f"with the right softmax the best token has {right:.3f}, at least 0.9 is asked for"
    assert forgetful <= 0.1, f"with the forgetful one it still has {forgetful:.3f}, at most 0.1 is asked for"
    assert isinstance(why, str), f"why is a letter from a to d, got {shown(why)}"
    assert why.strip().lower() == "b", (
        f"why: {shown(why)} is not it. What does the sum under the fraction hold with padding that it does not without?"
    )


@exercise("03-5-d", points=4)
def whole(answer):
    """The pipeline: rows to labels, a batch at a time."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    frame = "minillm.inference.pipelines"
    ready = [f"{frame}.base.{one}" for one in ("collate", "batches", "Pipeline.run", "Pipeline.forward")]
    ready += [f"{frame}.classes.{one}" for one in ("ranked", "label_scores")]
    for case in cases(
        texts=(0, 1, 2, 5, 13), batch_size=(1, 2, 4, 50), labels=(2, 7), pad_id=(0, 5), alike=(False, True)
    ):
        inputs = Inputs(case.seed)
        sizes = [inputs.integer(1, 3 if case.alike else 12) for _ in range(case.texts)]
        rows = [inputs.integers(size, 0, 9) for size in sizes]  # the padding id may stand in a text
        names = [f"label {place}" for place in inputs.shuffled(range(case.labels))]
        table = inputs.tensor(10, case.labels)
        scores = [_logits(table, torch.tensor([row]), torch.ones(1, len(row)))[0].softmax(-1) for row in rows]
        expected = [{"label": names[int(one.argmax())], "score": one.max().item()} for one in scores]
        given = [list(row) for row in rows], list(names)
        model = _watched(table, rows, case.batch_size, case.pad_id)
        with forbid(BUILD, *ready, answer=answer):
            found = answer(model, given[0], given[1], case.pad_id, case.batch_size)
        hint = f"rows {shown(rows)}, batch_size={case.batch_size}, pad_id={case.pad_id}"
        expect(found, expected, 1e-4, hint)
        expect(given, [rows, names], hint=f"{hint}: rows and names must stay as they are")


def _logits(table, ids, mask):
    """Logits (B, labels) that depend on every real token and on its place."""
    places = 1 + 0.1 * torch.arange(ids.shape[1])
    return (table[ids] * (places * mask)[..., None]).sum(1)


def _watched(table, rows, batch_size, pad_id):
    """A model that refuses batches which the prompt does not allow."""
    lengths = sorted(map(len, rows), reverse=True)
    allowed = [lengths[i : i + batch_size] for i in range(0, len(lengths), batch_size)]

    def model(input_ids, attention_mask):
        both = (input_ids, attention_mask)
        right = all(
            isinstance(one, torch.Tensor) and one.dtype == torch.int64 and one.ndim == 2 for one in both
        )
        assert right, "the model takes two LongTensors (B, T), input_ids and attention_mask"
        assert input_ids.shape == attention_mask.shape, (
            f"input_ids {tuple(input_ids.shape)} and attention_mask {tuple(attention_mask.shape)} must be of one shape"
        )
        assert not torch.is_grad_enabled(), "gradients are kept: call the model under torch.no_grad()"
        sizes = attention_mask.sum(1).tolist()
        came = sorted(sizes, reverse=True)
        assert came in allowed, f"batches of the lengths {allowed} were expected, a batch of {came} came"
        width = input_ids.shape[1]
        assert width == max(sizes), f"a batch of rows of {came} tokens is {width} wide"
        real = torch.arange(width) < torch.tensor(sizes)[:, None]
        assert torch.equal(attention_mask, real.long()), (
            "the mask is 1 for tokens, on the left, and 0 for padding"
        )
        assert bool((input_ids[~real] == pad_id).all()), f"rows are filled up with pad_id, here {pad_id}"
        return _logits(table, input_ids, attention_mask)

    return model
