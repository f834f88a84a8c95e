"""Checkers of lesson 07_3, distillation."""

import torch

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    cases,
    copied_library,
    expect,
    expect_parts,
    forbid,
    plain,
    shown,
)

BUILD = "build the loss yourself"
HERE = "minillm.course.classroom.exercises.lesson_07_3"
READY_MADE = (
    "torch.nn.functional.kl_div",
    "torch.nn.functional.cross_entropy",
    "torch.nn.functional.nll_loss",
    "torch.kl_div",
    "torch.nn.KLDivLoss.forward",
    "torch.nn.CrossEntropyLoss.forward",
    "torch.distributions.kl_divergence",
    "torch.distributions.kl.kl_divergence",
    *(f"torch._C._nn.{name}" for name in ("cross_entropy_loss", "nll_loss", "nll_loss_nd")),
    *(f"torch.ops.aten.{name}" for name in ("kl_div", "cross_entropy_loss", "nll_loss", "nll_loss_nd")),
    "torch.ops.aten.nll_loss_forward",
    *(f"minillm.training.distillation.{name}" for name in ("distillation_loss", "forward_kl", "reverse_kl")),
    *(f"minillm.training.distillation.{name}" for name in ("forward_kl_plain", "reverse_kl_plain")),
    *(f"minillm.training.distillation.{name}" for name in ("_forward_rows", "_reverse_rows", "_both_parts")),
    "minillm.training.cross_entropy.cross_entropy",
    "minillm.training.cross_entropy.cross_entropy_plain",
    f"{HERE}._loss",
)


@exercise("07-3-a", points=2)
def gradients(answer):
    """Two gradients and a factor."""
    found = plain(answer)
    assert isinstance(found, list), f"the prediction is a list of three numbers, got {shown(found)}"
    assert len(found) == 3, f"the prediction has three numbers, got {len(found)}"
    hints = (
        "T = 1: q - p for the first token",
        "T = 2: q and p are softmaxes of the halved logits, and the derivative of logits / 2 is one half",
        "T = 2 with the factor T² = 4",
    )
    for number, expected, hint in zip(found, (-0.3, -1 / 12, -1 / 3), hints):
        expect(number, expected, 5e-3, hint)


@exercise("07-3-b", points=4)
def distil(answer):
    """The loss with soft targets, and its gradient."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    for case in cases(
        shape=((1, 1, 2), (2, 5, 7), (3, 4, 3)),
        temperature=(0.5, 1.0, 3.0),
        alpha=(0.0, 0.3, 1.0),
        ignored=("none", "some", "most"),
    ):
        _one_loss(answer, case)


def _one_loss(answer, case):
    inputs, (rows, length, words) = Inputs(case.seed), case.shape
    student, teacher = inputs.tensor(*case.shape, scale=2.0), inputs.tensor(*case.shape, scale=3.0)
    targets = torch.tensor(inputs.integers(rows * length, 0, words - 1)).view(rows, length)
    shut = {"none": 0, "some": rows * length // 3, "most": rows * length - 1}[case.ignored]
    targets.view(-1)[torch.tensor(inputs.shuffled(range(rows * length))[:shut], dtype=torch.int64)] = -100
    x = student.double().requires_grad_()
    expected = _loss(x, teacher.double(), targets, case.temperature, case.alpha)
    (slope,) = torch.autograd.grad(expected, x)
    hint = f"{case}, targets {targets.tolist()}"
    given = student.clone(), teacher.clone(), targets.clone()
    with forbid(BUILD, *READY_MADE, answer=answer):
        found = plain(answer(*given, case.temperature, case.alpha), "the loss and its gradient")
    assert isinstance(found, list), f"{hint}: return the loss and its gradient, got {shown(found)}"
    assert len(found) == 2, f"{hint}: return two things, the loss and its gradient, got {len(found)}"
    number, gradient = found
    while isinstance(number, list) and len(number) == 1:
        number = number[0]
    expect(number, expected.item(), 1e-4, f"{hint}: the loss")
    expect(gradient, slope.tolist(), 1e-4, f"{hint}: the gradient for the student's logits")
    for name, now, before in zip(
        ("student's logits", "teacher's logits", "targets"), given, (student, teacher, targets)
    ):
        expect(now, before, hint=f"{hint}: the {name} must stay as they are")


def _loss(student, teacher, targets, temperature, alpha):
    """Token by token, in float64."""
    total, count = 0.0, 0
    for x, y, target in zip(student.flatten(0, 1), teacher.flatten(0, 1), targets.flatten().tolist()):
        if target == -100:
            continue
        log_q, log_p = torch.log_softmax(x / temperature, 0), torch.log_softmax(y / temperature, 0)
        soft = (log_p.exp() * (log_p - log_q)).sum()
        hard = -torch.log_softmax(x, 0)[target]
        total, count = total + alpha * temperature**2 * soft + (1 - alpha) * hard, count + 1
    return total / count


@exercise("07-3-c", points=3)
def broken(answer):
    """Three broken losses, and what each does."""
    expect_parts(answer, "forgets_t", "swapped", "dropout", "ratio")
    ratio = answer["ratio"]
    assert callable(ratio), f"ratio must be a function, got {shown(ratio)}"
    for case in cases(words=(2, 5, 40), temperature=(0.5, 1.0, 2.0, 5.0), scale=(0.3, 3.0)):
        inputs = Inputs(case.seed)
        student, teacher = (
            inputs.tensor(case.words, scale=case.scale),
            inputs.tensor(case.words, scale=case.scale),
        )
        lengths = [
            ((torch.softmax(student.double() / T, 0) - torch.softmax(teacher.double() / T, 0)) / T)
            .norm()
            .item()
            for T in (case.temperature, 1.0)
        ]
        expected = lengths[0] / lengths[1]
        found = ratio(student.clone(), teacher.clone(), case.temperature)
        expect(found, expected, 2e-3, f"{case}: length of the gradient at T, divided by that at T = 1")
    letters = {name: plain(answer[name], name) for name in ("forgets_t", "swapped", "dropout")}
    for name, letter in letters.items():
        assert isinstance(letter, str), f"{name} is a letter from a to d, got {shown(letter)}"
        letter = letter.strip().lower()
        assert letter in {"a", "b", "c", "d"}, f"{name} must be 'a', 'b', 'c' or 'd', got {shown(letter)}"
        right = {"forgets_t": "b", "swapped": "d", "dropout": "a"}[name]
        assert letter == right, (
            f"{name}: {letter!r} is not it; ask what happens to p, to q, and to the gradient"
        )
