"""Plausible wrong answers to the exercises of lesson 07_3."""

SLOPE = """def distil(student, teacher, targets, temperature, alpha):
    x = student.clone().requires_grad_()
    loss = loss_of(x, teacher, targets, temperature, alpha)
    return loss, torch.autograd.grad(loss, x)[0]


"""
DISTIL = """def loss_of(student, teacher, targets, temperature, alpha):
    counted = {counted}
    x, y, answer = student[counted], {teacher}, targets[counted]
    log_q, log_p = torch.log_softmax({x}, -1), torch.log_softmax({y}, -1)
    soft = {soft}
    hard = -torch.log_softmax({hard}, -1).gather(1, answer[:, None])[:, 0]
    return {mean}"""
FINE = {
    "counted": "targets != -100",
    "teacher": "teacher[counted].detach()",
    "x": "x / temperature",
    "y": "y / temperature",
    "soft": "(log_p.exp() * (log_p - log_q)).sum(-1)",
    "hard": "x",
    "mean": "(alpha * temperature**2 * soft + (1 - alpha) * hard).mean()",
}
BROKEN = """def ratio(student, teacher, temperature):
    def pull(T):
        return ({pull}).norm()

    return {share}


forgets_t, swapped, dropout = "{forgets_t}", "{swapped}", "{dropout}\""""
SOUND = {
    "pull": "(torch.softmax(student / T, 0) - torch.softmax(teacher / T, 0)) / T",
    "share": "pull(temperature) / pull(1.0)",
    "forgets_t": "b",
    "swapped": "d",
    "dropout": "a",
}


def distil(**change):
    return SLOPE + DISTIL.format(**FINE | change)


FOUND_ELSEWHERE = """D = torch.distributions.Categorical


def loss_of(student, teacher, targets, temperature, alpha):
    counted = targets != -100
    x, y = student[counted], teacher[counted]
    log_q, p = torch.log_softmax(x / temperature, -1), torch.softmax(y / temperature, -1)
    return alpha * temperature**2 * {soft} + (1 - alpha) * {hard}"""
OWN_SOFT = "(p * (p.log() - log_q)).sum(-1).mean()"
OWN_HARD = "-torch.log_softmax(x, -1).gather(1, targets[counted][:, None]).mean()"

WRONG = {
    "07-3-a": {
        "p - q": "prediction = [0.3, 1 / 12, 1 / 3]",
        "forgets that logits are halved": "prediction = [-0.3, -1 / 6, -2 / 3]",
        "T instead of T squared": "prediction = [-0.3, -1 / 12, -1 / 6]",
        "no temperature": "prediction = [-0.3, -0.3, -0.3]",
        "two numbers": "prediction = [-0.3, -1 / 12]",
    },
    "07-3-b": {
        "no T squared": distil(mean="(alpha * soft + (1 - alpha) * hard).mean()"),
        "T once": distil(mean="(alpha * temperature * soft + (1 - alpha) * hard).mean()"),
        "T squared on both": distil(mean="(temperature**2 * (alpha * soft + (1 - alpha) * hard)).mean()"),
        "alpha the other way": distil(mean="((1 - alpha) * temperature**2 * soft + alpha * hard).mean()"),
        "the directions swapped": distil(soft="(log_q.exp() * (log_q - log_p)).sum(-1)"),
        "cross-entropy of soft targets, without the teacher's entropy": distil(
            soft="-(log_p.exp() * log_q).sum(-1)"
        ),
        "mean over the vocabulary": distil(soft="(log_p.exp() * (log_p - log_q)).mean(-1)"),
        "a sum over the tokens": distil(mean="(alpha * temperature**2 * soft + (1 - alpha) * hard).sum()"),
        "divides by all places": distil(
            mean="(alpha * temperature**2 * soft + (1 - alpha) * hard).sum() / targets.numel()"
        ),
        "divides by the texts": distil(
            mean="(alpha * temperature**2 * soft + (1 - alpha) * hard).sum() / len(targets)"
        ),
        "hard targets at the temperature": distil(hard="x / temperature"),
        "only the student is softened": distil(y="y"),
        "only the teacher is softened": distil(x="x"),
        "padding counts in the soft part": SLOPE
        + """def loss_of(student, teacher, targets, temperature, alpha):
    counted = targets != -100
    log_q, log_p = (torch.log_softmax(x / temperature, -1) for x in (student, teacher.detach()))
    soft = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
    x = student[counted]
    hard = -torch.log_softmax(x, -1).gather(1, targets[counted][:, None]).mean()
    return alpha * temperature**2 * soft + (1 - alpha) * hard""",
        "softens the logits that it was given": SLOPE.replace("student.clone()", "student")
        + DISTIL.format(**FINE).replace("    return", "    teacher /= temperature\n    return"),
        "no gradient": distil().replace("return loss, torch.autograd.grad(loss, x)[0]", "return loss"),
        "a loss that is detached": distil(
            mean="(alpha * temperature**2 * soft + (1 - alpha) * hard).mean().detach()"
        ),
        "the soft part is detached": distil(soft="(log_p.exp() * (log_p - log_q)).sum(-1).detach()"),
        "the weights q of the student are detached in one place": distil(
            soft="(log_p.exp() * (log_p - log_q.detach())).sum(-1)"
        ),
        "under no_grad": SLOPE + "@torch.no_grad()\n" + DISTIL.format(**FINE),
        "the right loss, the gradient without T squared": distil().replace(
            "return loss, torch.autograd.grad(loss, x)[0]",
            "return loss, torch.autograd.grad(loss, x)[0] / temperature**2",
        ),
        "the gradient for the teacher": distil(teacher="teacher[counted]")
        .replace("x = student.clone().requires_grad_()", "x = teacher.clone().requires_grad_()")
        .replace("loss_of(x, teacher,", "loss_of(student, x,"),
        "the gradient summed over the tokens": distil().replace(
            "torch.autograd.grad(loss, x)[0]", "torch.autograd.grad(loss, x)[0].sum((0, 1))"
        ),
        "the gradient first": distil().replace(
            "return loss, torch.autograd.grad(loss, x)[0]", "return torch.autograd.grad(loss, x)[0], loss"
        ),
        "the gradient of one token": distil().replace(
            "torch.autograd.grad(loss, x)[0]", "torch.autograd.grad(loss, x)[0] * (targets != -100).sum()"
        ),
        "temperature 2 whatever is asked": distil(x="x / 2", y="y / 2"),
        "multiplies by T": distil(x="x * temperature", y="y * temperature"),
        "hard labels of the teacher": distil(soft="-log_q.gather(1, y.argmax(-1, keepdim=True))[:, 0]"),
        "the library's": SLOPE
        + """def loss_of(student, teacher, targets, temperature, alpha):
    return distillation_loss(student, teacher, targets, temperature, alpha)""",
        "the library's KL": SLOPE
        + """from minillm.training import forward_kl

def loss_of(student, teacher, targets, temperature, alpha):
    counted = targets != -100
    hard = -torch.log_softmax(student[counted], -1).gather(1, targets[counted][:, None]).mean()
    return alpha * temperature**2 * forward_kl(student, teacher, temperature, counted) + (1 - alpha) * hard""",
        "torch's": SLOPE
        + """def loss_of(student, teacher, targets, temperature, alpha):
    counted = targets != -100
    x, y = student[counted], teacher[counted].detach()
    pair = torch.log_softmax(x / temperature, -1), torch.softmax(y / temperature, -1)
    soft = torch.nn.functional.kl_div(*pair, reduction="batchmean")
    hard = torch.nn.functional.cross_entropy(x, targets[counted])
    return alpha * temperature**2 * soft + (1 - alpha) * hard""",
        **{
            f"torch's, by {name}": SLOPE + FOUND_ELSEWHERE.format(soft=soft, hard=hard)
            for name, soft, hard in (
                ("aten's kl_div", "torch.ops.aten.kl_div(log_q, p, 2) / len(p)", OWN_HARD),
                (
                    "distributions",
                    "torch.distributions.kl.kl_divergence(D(p), D(logits=log_q)).mean()",
                    OWN_HARD,
                ),
                ("aten's cross-entropy", OWN_SOFT, "torch.ops.aten.cross_entropy_loss(x, targets[counted])"),
                ("its C cross-entropy", OWN_SOFT, "torch._C._nn.cross_entropy_loss(x, targets[counted])"),
            )
        },
        "the library's rows, by name": """import importlib


def distil(student, teacher, targets, temperature, alpha):
    rows, counted = importlib.import_module("minillm.training.distillation")._forward_rows, targets != -100
    x, gradient = student[counted], torch.zeros_like(student)
    soft, pull = rows(x, teacher[counted], temperature)
    right = torch.nn.functional.one_hot(targets[counted], x.shape[1])
    hard = torch.logsumexp(x, 1) - (x * right).sum(1)
    gradient[counted] = (alpha * temperature**2 * pull + (1 - alpha) * (x.softmax(1) - right)) / len(x)
    return (alpha * temperature**2 * soft + (1 - alpha) * hard).mean(), gradient""",
        "the checker's, imported by its name": """import importlib


def distil(student, teacher, targets, temperature, alpha):
    checker = importlib.import_module("minillm.course.classroom.exercises.lesson_07_3")
    x = student.clone().requires_grad_()
    loss = checker._loss(x, teacher, targets, temperature, alpha)
    return loss, torch.autograd.grad(loss, x)[0]""",
        "the checker's": """from minillm.course.classroom.exercises.lesson_07_3 import _loss

def distil(student, teacher, targets, temperature, alpha):
    x = student.clone().requires_grad_()
    loss = _loss(x, teacher, targets, temperature, alpha)
    return loss, torch.autograd.grad(loss, x)[0]""",
    },
    "07-3-c": {
        "one over T squared": BROKEN.format(**SOUND | {"share": "1 / temperature**2"}),
        "forgets 1 / T": BROKEN.format(
            **SOUND | {"pull": "torch.softmax(student / T, 0) - torch.softmax(teacher / T, 0)"}
        ),
        "T squared is put back": BROKEN.format(
            **SOUND | {"share": "temperature**2 * pull(temperature) / pull(1.0)"}
        ),
        "upside down": BROKEN.format(**SOUND | {"share": "pull(1.0) / pull(temperature)"}),
        "not a ratio": BROKEN.format(**SOUND | {"share": "pull(temperature)"}),
        "T: nothing changes": BROKEN.format(**SOUND | {"forgets_t": "c"}),
        "T: the teacher counts too much": BROKEN.format(**SOUND | {"forgets_t": "a"}),
        "swapped: no change": BROKEN.format(**SOUND | {"swapped": "c"}),
        "swapped: it covers everything": BROKEN.format(**SOUND | {"swapped": "a"}),
        "dropout: nothing changes": BROKEN.format(**SOUND | {"dropout": "c"}),
        "no function": 'ratio, forgets_t, swapped, dropout = 0.25, "b", "d", "a"',
    },
}
