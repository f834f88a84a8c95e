"""The losses of distillation: against torch's kl_div, numpy in float64, the published formula, finite differences."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minillm.training import distillation
from minillm.training.distillation import (
    distillation_loss,
    forward_kl,
    forward_kl_plain,
    hidden_state_loss,
    reverse_kl,
    reverse_kl_plain,
)

BOTH = {"forward": (forward_kl_plain, forward_kl), "reverse": (reverse_kl_plain, reverse_kl)}


def draw(*shape, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(*shape, generator=generator) for _ in range(2)]


def kl_numpy(p_logits, q_logits, temperature):
    """sum p log(p / q) of each row, in float64."""
    p, q = (np.exp(x.double().numpy() / temperature) for x in (p_logits, q_logits))
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    return (p * np.log(p / q)).sum(-1)


@pytest.mark.parametrize("direction", BOTH)
@pytest.mark.parametrize("temperature", [0.7, 1.0, 4.0])
def test_kl_is_torchs_and_numpys(direction, temperature):
    student, teacher = draw(2, 5, 17)
    mask = torch.rand(2, 5, generator=torch.Generator().manual_seed(1)) < 0.6
    first, second = (teacher, student) if direction == "forward" else (student, teacher)
    by_numpy = kl_numpy(first, second, temperature)[mask.numpy()].mean()
    log_p, log_q = (torch.log_softmax(x[mask] / temperature, -1) for x in (first, second))
    by_torch = F.kl_div(log_q, log_p, log_target=True, reduction="batchmean")
    for function in BOTH[direction]:
        found = function(student, teacher, temperature, mask)
        assert found.dtype == torch.float32
        assert found.ndim == 0
        torch.testing.assert_close(found, by_torch, rtol=1e-5, atol=1e-6)
        assert found.item() == pytest.approx(by_numpy, rel=1e-5)


@pytest.mark.parametrize("direction", BOTH)
def test_gradients_are_autograds_and_finite_differences(direction, monkeypatch):
    monkeypatch.setitem(distillation.AT_A_TIME, "cpu", 3 * 7)  # several chunks
    student, teacher = draw(8, 7)
    mask = torch.tensor([True, True, False, True, True, False, True, True])
    gradients = []
    for function in BOTH[direction]:
        x = student.clone().requires_grad_()
        (3 * function(x, teacher, 2.5, mask)).backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)
    assert gradients[1][~mask].abs().max() == 0

    def by_numpy(x):
        first, second = (teacher, x) if direction == "forward" else (x, teacher)
        return 3 * kl_numpy(first, second, 2.5)[mask.numpy()].mean()

    for row, column in ((0, 2), (3, 6), (7, 0)):
        step = torch.zeros(8, 7, dtype=torch.float64)
        step[row, column] = 1e-5
        slope = (by_numpy(student.double() + step) - by_numpy(student.double() - step)) / 2e-5
        assert gradients[1][row, column].item() == pytest.approx(slope, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("direction", BOTH)
def test_no_distance_between_equals_and_a_token_that_cannot_come(direction):
    student, _ = draw(3, 6)
    for function in BOTH[direction]:
        assert function(student, student, 2.0).item() == pytest.approx(0, abs=1e-6)
        assert math.isnan(function(student, student, 2.0, torch.zeros(3, dtype=torch.bool)))
    # both give the same token no probability: it counts nothing
    shut = student.clone()
    shut[:, 2] = -math.inf
    other = draw(3, 6, seed=2)[1]
    other[:, 2] = -math.inf
    keep = [0, 1, 3, 4, 5]
    for function in BOTH[direction]:
        whole, part = function(shut, other, 1.5), function(shut[:, keep], other[:, keep], 1.5)
        torch.testing.assert_close(whole, part)


@pytest.mark.parametrize("direction", BOTH)
@pytest.mark.parametrize("who", ["both", "the one whose weights count"])
def test_tokens_that_cannot_come_leave_the_gradient_of_those_that_can(direction, who):
    """A vocabulary masked with -inf, as a grammar or a padded head does it: the same gradient, and no NaN."""
    student, teacher = draw(4, 6, seed=5)
    keep, T = [0, 1, 3, 4, 5], 1.5
    shut = student if direction == "reverse" else teacher
    for logits in (student, teacher) if who == "both" else (shut,):
        logits[:, 2] = -math.inf
    x = student.clone().requires_grad_()
    first, second = (teacher, x) if direction == "forward" else (x, teacher)
    p, log_q = torch.softmax(first[:, keep] / T, 1), torch.log_softmax(second / T, 1)[:, keep]
    expected = torch.autograd.grad(((p * (p.log() - log_q)).sum(1)).mean(), x)[0]
    for function in BOTH[direction]:
        found = torch.autograd.grad(function(x, teacher, T), x)[0]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_the_two_directions_differ_and_say_what_they_punish():
    teacher = torch.log(torch.tensor([[0.5, 0.4999, 0.0001]]))
    narrow = torch.log(torch.tensor([[0.9998, 0.0001, 0.0001]]))  # one of the teacher's two tokens
    broad = torch.log(torch.tensor([[0.34, 0.33, 0.33]]))  # both of them, and one that is not the teacher's
    assert forward_kl(broad, teacher) < forward_kl(narrow, teacher)
    assert reverse_kl(broad, teacher) > reverse_kl(narrow, teacher)


@pytest.mark.parametrize(("temperature", "alpha"), [(1.0, 0.0), (2.0, 0.5), (4.0, 0.9), (3.0, 1.0)])
@pytest.mark.parametrize("direction", BOTH)
def test_the_loss_is_the_published_one(temperature, alpha, direction):
    """DistilBERT's distiller: KLDivLoss(batchmean) of the rows that count, times T², plus cross-entropy."""
    student, teacher = draw(2, 6, 13)
    targets = torch.randint(13, (2, 6), generator=torch.Generator().manual_seed(3))
    targets[0, 4:] = targets[1, 0] = -100
    counted = targets != -100
    pair = (student, teacher) if direction == "forward" else (teacher, student)
    soft = torch.nn.KLDivLoss(reduction="batchmean")(
        F.log_softmax(pair[0][counted] / temperature, dim=-1),
        F.softmax(pair[1][counted] / temperature, dim=-1),
    )
    hard = F.cross_entropy(student.view(-1, 13), targets.view(-1), ignore_index=-100)
    expected = alpha * temperature**2 * soft + (1 - alpha) * hard
    found = distillation_loss(student, teacher, targets, temperature, alpha, kl=BOTH[direction][1])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_another_ignore_index_and_what_stands_on_ignored_places():
    student, teacher = draw(1, 4, 9)
    targets = torch.tensor([[3, 7, 7, 0]])
    found = distillation_loss(student, teacher, targets, ignore_index=7)
    torch.testing.assert_close(
        found, distillation_loss(student[:, [0, 3]], teacher[:, [0, 3]], targets[:, [0, 3]])
    )
    student[0, 1], teacher[0, 2] = math.nan, math.inf  # padding may hold anything
    assert distillation_loss(student, teacher, targets, ignore_index=7).item() == found.item()


def test_t_squared_keeps_the_gradient_in_proportion():
    """At high temperature T² KL becomes half the mean squared difference of logits (Hinton et al. 2015, 2.1)."""
    student, teacher = (x - x.mean(-1, keepdim=True) for x in draw(4, 10, scale=1.0))
    matching = ((student - teacher) ** 2).mean() / 2
    torch.testing.assert_close(100.0**2 * forward_kl(student, teacher, 100.0), matching, rtol=2e-2, atol=0)


def test_half_precision_logits_are_counted_in_float32():
    student, teacher = (x.bfloat16() for x in draw(5, 11))
    x = student.clone().requires_grad_()
    forward_kl(x, teacher, 2.0).backward()
    assert x.grad.dtype == torch.bfloat16
    torch.testing.assert_close(
        forward_kl(student, teacher, 2.0), forward_kl(student.float(), teacher.float(), 2.0)
    )


def test_the_teacher_gets_no_gradient():
    student, teacher = (x.requires_grad_() for x in draw(3, 5))
    targets = torch.tensor([1, 2, 3])
    for kl in (forward_kl, forward_kl_plain, reverse_kl, reverse_kl_plain):
        student.grad = None
        distillation_loss(student, teacher, targets, kl=kl).backward()
        assert teacher.grad is None
        assert student.grad.abs().max() > 0


def test_hidden_states():
    student, teacher = draw(2, 3, 4)
    mask = torch.tensor([[True, False, True], [True, True, False]])
    torch.testing.assert_close(
        hidden_state_loss(student, teacher, mask), F.mse_loss(student[mask], teacher[mask])
    )
    ones = torch.ones(int(mask.sum()))
    torch.testing.assert_close(  # DistilBERT's
        hidden_state_loss(student, teacher, mask, "cosine"),
        torch.nn.CosineEmbeddingLoss(reduction="mean")(student[mask], teacher[mask], ones),
    )
    assert hidden_state_loss(teacher, 3 * teacher, kind="cosine").item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"teacher_logits": torch.zeros(2, 3, 6)}, "one vocabulary.* 5 and 6"),
        ({"teacher_logits": torch.zeros(2, 2, 5)}, "one shape"),
        ({"teacher_logits": None}, "teacher_logits must be a float tensor"),
        ({"student_logits": torch.zeros(2, 3, 5, dtype=torch.int64)}, "student_logits must be a float"),
        ({"targets": torch.zeros(2, 2, dtype=torch.int64)}, "targets must have the shape"),
        ({"targets": torch.full((2, 3), 5)}, "ids below 5"),
        ({"temperature": 0}, "above 0"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": math.nan}, "finite"),
        ({"alpha": 1.5}, "alpha"),
        ({"kl": "forward"}, "kl must be a function"),
        ({"ignore_index": "none"}, "ignore_index"),
        (
            {"student_logits": torch.zeros(2, 3, 0), "teacher_logits": torch.zeros(2, 3, 0)},
            "got Tensor of shape",
        ),
    ],
)
def test_refused(change, says):
    given = {"student_logits": torch.zeros(2, 3, 5), "teacher_logits": torch.zeros(2, 3, 5)}
    given["targets"] = torch.zeros(2, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match=says):
        distillation_loss(**(given | change))


def test_refused_masks_and_hidden_states():
    x = torch.zeros(2, 3, 5)
    for mask in (torch.ones(2, 3), torch.ones(2, 2, dtype=torch.bool)):
        for function in (forward_kl, forward_kl_plain, reverse_kl):
            with pytest.raises(ValueError, match="mask must be a bool tensor"):
                function(x, x, 1.0, mask)
    with pytest.raises(ValueError, match="projection"):
        hidden_state_loss(x, torch.zeros(2, 3, 8))
    with pytest.raises(ValueError, match="kind"):
        hidden_state_loss(x, x, kind="l1")
