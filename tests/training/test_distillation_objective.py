"""A student under the Trainer: what it learns, what the teacher keeps, and that a run resumes bit for bit."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig, load_model
from minillm.quantization import quantize
from minillm.training import (
    CausalLMObjective,
    DistillationObjective,
    ExampleSet,
    ProjectedStudent,
    Trainer,
    TrainerConfig,
    distillation_loss,
    forward_kl,
    hidden_state_loss,
    reverse_kl,
    student_from_layers,
    teacher_examples,
)
from tests.training.toy import COUNTING, ToyLM


def llama(layers=2, width=16, vocabulary=11, seed=0):
    return Llama(
        LlamaConfig(
            vocab_size=vocabulary, hidden_size=width, intermediate_size=24, num_hidden_layers=layers,
            num_attention_heads=2, max_position_embeddings=32, tie_word_embeddings=True,
        ),
        seed=seed,
    )  # fmt: skip


def settings(**change):
    given = {"max_steps": 8, "batch_size": 4, "context_length": 8, "learning_rate": 3e-3, "precision": "fp32"}
    return TrainerConfig(**(given | {"progress": False, "device": "cpu"} | change))


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


BATCH = {
    "input_ids": torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]]),
    "labels": torch.tensor([[1, 2, 3, 4], [5, 6, -100, -100]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
}


def test_the_loss_is_the_formula_on_what_both_say():
    teacher, student = llama(3, seed=1), llama(1, seed=2)
    seen = {"input_ids": BATCH["input_ids"][:, :-1], "attention_mask": BATCH["attention_mask"][:, :-1]}
    found = DistillationObjective(teacher, 3.0, 0.7, reverse_kl)(student, BATCH, predict=True)
    x, y, targets = student(**seen).logits, teacher(**seen).logits, BATCH["labels"][:, 1:]
    torch.testing.assert_close(found.loss, distillation_loss(x, y, targets, 3.0, 0.7, kl=reverse_kl))
    torch.testing.assert_close(found.predictions, x)
    assert torch.equal(found.labels, targets)
    assert DistillationObjective(teacher).count(BATCH) == 4
    # without the teacher's share it is the plain objective
    alone = DistillationObjective(teacher, alpha=0.0)(student, BATCH).loss
    torch.testing.assert_close(alone, CausalLMObjective()(student, BATCH).loss)


@pytest.mark.parametrize("kind", ["mse", "cosine"])
def test_hidden_states_are_compared_layer_by_layer_through_projections(kind):
    teacher, layers = llama(4, width=24, seed=1), {0: 0, 1: 2, 2: 4}
    student = ProjectedStudent(llama(2, seed=2), 16, 24, layers)
    objective = DistillationObjective(teacher, hidden_weight=0.3, layers=layers, hidden_kind=kind)
    found = objective(student, BATCH).loss
    seen = {"input_ids": BATCH["input_ids"][:, :-1], "attention_mask": BATCH["attention_mask"][:, :-1]}
    x, y = (one(**seen, output_hidden_states=True).hidden_states for one in (student, teacher))
    counted = BATCH["labels"][:, 1:] != -100
    parts = [
        hidden_state_loss(F.linear(x[a], student.projections[str(a)].weight), y[b], counted, kind)
        for a, b in layers.items()
    ]
    plain = DistillationObjective(teacher)(student, BATCH).loss
    torch.testing.assert_close(found, plain + 0.3 * sum(parts) / 3)
    found.backward()
    assert all(one.weight.grad.abs().max() > 0 for one in student.projections.values())


def test_a_student_of_the_same_width_needs_no_projection():
    teacher = llama(4, seed=1)
    student = student_from_layers(teacher, [0, 2])
    objective = DistillationObjective(teacher, hidden_weight=1.0, layers={0: 0})
    torch.testing.assert_close(
        objective(student, BATCH).loss, DistillationObjective(teacher)(student, BATCH).loss
    )  # both begin with the same embeddings
    assert DistillationObjective(teacher, hidden_weight=1.0, layers={1: 4})(student, BATCH).loss > 0


def test_the_teacher_stays_as_it_was_and_its_dropout_is_off():
    teacher, student = ToyLM(dropout=0.5, seed=1), ToyLM(seed=2)
    before = state(teacher)
    objective = DistillationObjective(teacher)
    teacher.train()  # somebody turned it on again
    student.eval()
    assert objective(student, BATCH).loss.item() == objective(student, BATCH).loss.item()
    assert not any(module.training for module in teacher.modules())
    Trainer(student, settings(), COUNTING, COUNTING, objective=objective).train()
    assert all(torch.equal(one, before[name]) for name, one in teacher.state_dict().items())
    assert all(weight.grad is None and not weight.requires_grad for weight in teacher.parameters())


def test_a_student_learns_what_the_teacher_thinks():
    """The teacher counts in threes, the text in ones: with alpha 1 the student counts in threes."""
    teacher, student = ToyLM(dropout=0.0, seed=1), ToyLM(dropout=0.0, seed=2)
    more = {"max_steps": 120, "learning_rate": 2e-2}
    Trainer(teacher, settings(**more), COUNTING * 3 % 11).train()
    objective = DistillationObjective(teacher, 1.0, alpha=1.0)
    Trainer(student, settings(**more), COUNTING, objective=objective).train()
    said = student.eval()(COUNTING[None, :11]).logits.argmax(-1)
    torch.testing.assert_close(said, (COUNTING[None, :11] + 3) % 11)


@pytest.mark.parametrize("projected", [False, True])
def test_a_run_resumes_bit_for_bit_and_no_checkpoint_holds_the_teacher(tmp_path, projected):
    teacher, layers = llama(4, width=24, seed=1), {1: 2}

    def run(folder, steps=8, resume=False):
        student = llama(2, seed=2)
        objective = DistillationObjective(teacher)
        if projected:
            student = ProjectedStudent(student, 16, 24, layers)
            objective = DistillationObjective(teacher, hidden_weight=0.5, layers=layers)
        config = settings(checkpoint_folder=folder, checkpoint_every=4, keep_last=9)
        trainer = Trainer(student, config, COUNTING, COUNTING[:50], objective)
        history = trainer.train(resume_from_checkpoint=resume)
        return state(student), history

    whole, history = run(tmp_path / "whole")
    again, resumed = run(tmp_path / "again", resume=tmp_path / "whole" / "checkpoint-4")
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert [one["train_loss"] for one in history] == [one["train_loss"] for one in resumed]
    kept = tmp_path / "whole" / "checkpoint-8"
    if projected:
        assert (kept / "weights.state").stat().st_size < 4 * sum(x.numel() for x in whole.values()) + 8192
    else:
        assert state(load_model(kept)).keys() == whole.keys()


def test_a_run_is_not_resumed_with_another_teacher_or_another_loss(tmp_path):
    def run(objective, resume=False):
        student = llama(1, seed=2)
        config = settings(checkpoint_folder=tmp_path, checkpoint_every=4, keep_last=9)
        trainer = Trainer(student, config, COUNTING, COUNTING[:50], objective)
        before = state(student)
        try:
            trainer.train(resume_from_checkpoint=resume)
        except ValueError:
            assert all(torch.equal(one, before[name]) for name, one in student.state_dict().items())
            raise
        return state(student)

    teacher, middle = llama(2, seed=1), tmp_path / "checkpoint-4"
    whole = run(DistillationObjective(teacher))
    again = run(DistillationObjective(copy.deepcopy(teacher)), middle)  # the same weights, another object
    assert all(torch.equal(one, again[name]) for name, one in whole.items())
    other = copy.deepcopy(teacher)
    with torch.no_grad():
        other.body.tokens.weight[3, 5] += 1e-3
    for objective, says in (
        (DistillationObjective(other), "objective's teacher"),
        (DistillationObjective(teacher, temperature=4.0), r"objective's temperature 2.0 -> 4.0"),
        (DistillationObjective(teacher, kl=reverse_kl), "objective's kl 'forward_kl' -> 'reverse_kl'"),
        (DistillationObjective(teacher, hidden_weight=1.0, layers={1: 2}), "objective's hidden_weight"),
        (CausalLMObjective(), "objective's teacher .* -> None"),
    ):
        with pytest.raises(ValueError, match=says):
            run(objective, middle)


def test_accumulated_passes_give_the_gradient_of_one_batch():
    rows = ExampleSet([[1, 2, 3, 4, 5, 6], [7, 8], [9, 10, 0, 1], [2, 4, 6]])
    weights = []
    for passes in (1, 2):
        student = ProjectedStudent(llama(1, seed=2), 16, 24, {1: 2})
        objective = DistillationObjective(llama(2, width=24, seed=1), hidden_weight=0.5, layers={1: 2})
        config = settings(
            max_steps=1, batch_size=4 // passes, gradient_accumulation=passes, max_grad_norm=None
        )
        Trainer(student, config, rows, objective=objective).train()
        weights.append(state(student))
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-3, atol=2e-5)


def test_refused():
    teacher = llama(2)
    with pytest.raises(ValueError, match="teacher must be a torch module"):
        DistillationObjective(None)
    for change, says in (
        ({"temperature": 0}, "above 0"), ({"alpha": -0.1}, "alpha"), ({"kl": "forward"}, "kl must be"),
        ({"hidden_weight": 1.0}, "go together"), ({"layers": {1: 1}}, "go together"),
        ({"hidden_weight": 1.0, "layers": {}}, "layers must be"), ({"hidden_kind": "l1"}, "hidden_kind"),
        ({"hidden_weight": 1.0, "layers": {1: -1}}, "at least 0"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            DistillationObjective(teacher, **change)
    with pytest.raises(ValueError, match=r"one vocabulary.* 12 and 11"):
        DistillationObjective(teacher)(llama(1, vocabulary=12), BATCH)
    with pytest.raises(ValueError, match="shares weights"):
        DistillationObjective(teacher)(teacher, BATCH)
    with pytest.raises(ValueError, match="needs labels"):
        DistillationObjective(teacher)(llama(1), {"input_ids": BATCH["input_ids"]})
    for layers, says in (({1: 9}, "teacher has layers 0 to 2"), ({9: 1}, "student has layers 0 to 1")):
        with pytest.raises(ValueError, match=says):
            DistillationObjective(teacher, hidden_weight=1.0, layers=layers)(llama(1, seed=3), BATCH)
    for bad in ((None, 4, 4, {1: 1}), (teacher, 0, 4, {1: 1}), (teacher, 4, 4, {})):
        with pytest.raises(ValueError):
            ProjectedStudent(*bad)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_student_of_the_teachers_layers(family):
    if family == "llama":
        teacher = llama(5, seed=1)
    else:
        config = GPT2Config(vocab_size=11, n_positions=32, n_embd=16, n_layer=5, n_head=2)
        teacher = GPT2(config, seed=1)
    before = state(teacher)
    student = student_from_layers(teacher)
    assert student.config.num_layers == 3
    assert teacher.config.num_layers == 5
    assert len(student.body.blocks) == 3
    cut = copy.deepcopy(teacher)
    cut.body.blocks = torch.nn.ModuleList([cut.body.blocks[i] for i in (0, 2, 4)])
    ids = torch.tensor([[1, 5, 2]])
    torch.testing.assert_close(student(ids).logits, cut(ids).logits)
    with torch.no_grad():
        student.body.tokens.weight.zero_()
    assert all(torch.equal(one, before[name]) for name, one in teacher.state_dict().items())
    assert student_from_layers(teacher, [4]).config.num_layers == 1
    for layers in ([], [3, 1], [0, 0], [5], [-1], "01", 2):
        with pytest.raises(ValueError):
            student_from_layers(teacher, layers)
    with pytest.raises(ValueError, match="blocks"):
        student_from_layers(ToyLM())
    with pytest.raises(ValueError, match="weights of a fresh"):
        student_from_layers(quantize(teacher, "int8"), [0])


class Letters:
    """One id a letter, a = 0."""

    def encode(self, text):
        return [ord(letter) - ord("a") for letter in text]


def test_examples_from_what_a_teacher_wrote():
    asked = []

    def write(prompts):
        asked.extend(prompts)
        return [prompt[::-1] for prompt in prompts]

    examples = teacher_examples(["ab", "cde"], write, Letters(), end_token_id=26, max_length=5)
    assert asked == ["ab", "cde"]
    assert examples[0] == {"input_ids": [0, 1, 1, 0, 26], "labels": [-100, -100, 1, 0, 26]}
    assert examples[1] == {"input_ids": [2, 3, 4, 4, 3], "labels": [-100, -100, -100, 4, 3]}
    assert CausalLMObjective().count(ExampleSet(examples).batch(0, 0, 2, 5)) == 5
    for prompts, writer, says in (
        ([], write, "at least one"), ("ab", write, "list of"), (["ab"], lambda p: [], "1 texts for 1 prompts"),
        (["ab"], lambda p: "x", "texts"), (["ab"], lambda p: [None], "texts"),
        (["ab"], lambda p: [""], "nothing to learn"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            teacher_examples(prompts, writer, Letters())
    for writer, tokenizer in ((["ba"], Letters()), (write, None)):
        with pytest.raises(ValueError, match="write must be a function"):
            teacher_examples(["ab"], writer, tokenizer)
    assert teacher_examples(iter(["ab"]), lambda p: (one for one in p), Letters())[0]["labels"] == [
        -100,
        -100,
        0,
        1,
    ]
    with pytest.raises(ValueError, match="nothing to learn"):
        teacher_examples(["abcdef"], write, Letters(), max_length=4)


def test_a_model_without_hidden_states_is_named():
    objective = DistillationObjective(_Bare(), hidden_weight=1.0, layers={0: 0}, kl=forward_kl)
    with pytest.raises(ValueError, match="student gives no hidden_states"):
        objective(_Bare(), BATCH)


class _Bare(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(11, 11)

    def forward(self, input_ids, attention_mask=None, output_hidden_states=False):
        return SimpleNamespace(logits=self.table(input_ids))
