"""A student under a Trainer: the objective that asks the teacher, and the student with projections for its features.

    Trainer(student, config, ids, held_out_ids, objective=DistillationObjective(teacher, temperature=2, alpha=0.5))

    loss = alpha T² KL(teacher || student) + (1 - alpha) cross-entropy + hidden_weight * distance of hidden states

The teacher is run on the same batch, never learns, and is no part of the student: a checkpoint holds only a digest of
it, so that a run is not resumed with another teacher.

Book: 7.3 지식 증류 활용하기. Papers: Hinton et al. 2015; Sanh et al. 2019 (DistilBERT: these three losses); Jiao et al.
2020 (TinyBERT: projections). Held against: DistilBERT's formula. Leaves out: a teacher with another tokenizer, students
that learn on texts they write themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from minillm._checks import check_choice, check_int, check_number, describe
from minillm.training.checkpoint import whole_digest
from minillm.training.distillation import distillation_loss, forward_kl, hidden_state_loss
from minillm.training.objectives import CausalLMObjective, Outcome


class DistillationObjective(CausalLMObjective):
    """Predict every token from those before it, as the teacher does and as the text does.

    `teacher`: a causal language model with the student's vocabulary; from here on it is frozen (evaluation mode, so no
    dropout; its weights want no gradient). `temperature` above 0, `alpha` in [0, 1]: the teacher's share. `kl`:
    forward_kl or reverse_kl. `layers`: {student's layer: teacher's layer} whose hidden states are compared, counted as
    in `hidden_states` (0 the embeddings), by `hidden_kind` "mse" or "cosine", times `hidden_weight`; a student of
    another width is a `ProjectedStudent`. Raises ValueError for settings out of range or that do not fit each other.
    """

    def __init__(
        self,
        teacher: nn.Module,
        temperature: float = 2.0,
        alpha: float = 0.5,
        kl: Callable[..., Tensor] = forward_kl,
        hidden_weight: float = 0.0,
        layers: Mapping[int, int] | None = None,
        hidden_kind: str = "mse",
        ignore_index: int = -100,
    ) -> None:
        super().__init__(ignore_index)
        if not isinstance(teacher, nn.Module):
            raise ValueError(f"teacher must be a torch module, got {describe(teacher)}")
        self.temperature = check_number("temperature", temperature, 0)
        if not self.temperature:
            raise ValueError("temperature must be above 0, got 0")
        self.alpha = check_number("alpha", alpha, 0, 1)
        self.hidden_weight = check_number("hidden_weight", hidden_weight, 0)
        self.hidden_kind = check_choice("hidden_kind", hidden_kind, ("mse", "cosine"))
        if not callable(kl):
            raise ValueError(f"kl must be a function like forward_kl, got {describe(kl)}")
        self.kl, self.layers = kl, check_layers(layers) if layers is not None else {}
        if bool(self.layers) != bool(self.hidden_weight):
            raise ValueError(
                f"layers and a hidden_weight above 0 go together, got {layers} and {self.hidden_weight:g}"
            )
        self.teacher = teacher.eval().requires_grad_(False)
        self._digest: str | None = None

    def what_decides_the_weights(self) -> dict[str, Any]:
        """What a resumed run must share, as JSON-able values: the settings, and a digest of the teacher's weights."""
        if self._digest is None:
            self._digest = whole_digest(self.teacher)
        return {
            "teacher": self._digest, "temperature": self.temperature, "alpha": self.alpha,
            "kl": getattr(self.kl, "__qualname__", type(self.kl).__qualname__),
            "hidden_weight": self.hidden_weight, "hidden_kind": self.hidden_kind,
            "layers": [list(pair) for pair in sorted(self.layers.items())], "ignore_index": self.ignore_index,
        }  # fmt: skip

    def __call__(self, model: Any, batch: Mapping[str, Tensor], predict: bool = False) -> Outcome:
        """The loss above over the targets of the batch, a 0-d tensor with a gradient for the student alone.

        Predictions are the student's logits (B, L - 1, V), labels the ids that came next (B, L - 1). It is this loss
        in an evaluation, too; CausalLMObjective gives the cross-entropy alone. Raises ValueError as CausalLMObjective,
        for other vocabularies, for a layer that is not there, and for a student that shares weights with the teacher.
        """
        self.count(batch)  # the check of its labels
        targets, inputs = batch["labels"][:, 1:], {"input_ids": batch["input_ids"][:, :-1]}
        if batch.get("attention_mask") is not None:
            inputs["attention_mask"] = batch["attention_mask"][:, :-1]
        self._freeze(model, inputs["input_ids"].device)
        asked = {"output_hidden_states": True} if self.layers else {}
        with torch.no_grad():
            teacher = self.teacher(**inputs, **asked)  # .logits (B, L - 1, V)
        student = model(**inputs, **asked)
        settings = (self.temperature, self.alpha, self.ignore_index, self.kl)
        loss = distillation_loss(student.logits, teacher.logits, targets, *settings)
        if self.layers:
            loss = loss + self.hidden_weight * self._feature_loss(model, student, teacher, targets)
        return Outcome(loss, student.logits, targets)

    def _feature_loss(self, model: Any, student: Any, teacher: Any, targets: Tensor) -> Tensor:
        """Mean over the pairs of layers of the distance between their hidden states, where a target counts."""
        counted, losses = targets != self.ignore_index, []
        for mine, theirs in self.layers.items():
            x, y = _state("student", student, mine), _state("teacher", teacher, theirs)
            projections = getattr(model, "projections", {})
            x = projections[str(mine)](x) if str(mine) in projections else x
            losses.append(hidden_state_loss(x, y, counted, self.hidden_kind))
        return torch.stack(losses).mean()

    def _freeze(self, model: Any, device: torch.device) -> None:
        """Put the teacher on the batch's device, in evaluation mode; ValueError where the student holds its weights."""
        mine = {id(weight) for weight in model.parameters()} if isinstance(model, nn.Module) else set()
        if any(id(weight) in mine for weight in self.teacher.parameters()):
            raise ValueError(
                "the student shares weights with the teacher, which would learn, too: give it a copy"
            )
        if self.teacher.training:
            self.teacher.eval()
        weight = next(self.teacher.parameters(), None)
        if weight is not None and weight.device != device:
            self.teacher.to(device)


class ProjectedStudent(nn.Module):
    """A student, and for each layer in `layers` a matrix from its width to the teacher's, learned along with it.

    student_width, teacher_width: C of each; layers: as DistillationObjective's. It is called like the student. A
    Trainer's checkpoints of it hold the projections, too, so that a run resumes; when training is over, `.student` is
    the model, and the projections are thrown away. ValueError for widths below 1 or layers that are no dict of ints.
    """

    def __init__(
        self,
        student: nn.Module,
        student_width: int,
        teacher_width: int,
        layers: Mapping[int, int],
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(student, nn.Module):
            raise ValueError(f"student must be a torch module, got {describe(student)}")
        widths = check_int("student_width", student_width, 1), check_int("teacher_width", teacher_width, 1)
        check_int("seed", seed, 0)
        self.student = student
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            places = check_layers(layers)
            self.projections = nn.ModuleDict({str(one): nn.Linear(*widths, bias=False) for one in places})
        self.config = getattr(student, "config", None)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The student's output."""
        return self.student(*inputs, **named)


def check_layers(layers: Any) -> dict[int, int]:
    """`layers` as a dict of layer numbers; ValueError for anything else, or none."""
    if not isinstance(layers, Mapping) or not layers:
        raise ValueError(
            f"layers must be a dict {{student's layer: teacher's layer}}, got {describe(layers)}"
        )
    return {
        check_int("a student's layer", mine, 0): check_int("a teacher's layer", theirs, 0)
        for mine, theirs in layers.items()
    }


def _state(whose: str, output: Any, layer: int) -> Tensor:
    states = getattr(output, "hidden_states", None)
    if states is None:
        raise ValueError(
            f"the {whose} gives no hidden_states, which layers need; got {type(output).__name__}"
        )
    if layer >= len(states):
        raise ValueError(f"the {whose} has layers 0 to {len(states) - 1}, layers asks for {layer}")
    return states[layer]
