"""The loop: it learns, resumes bit for bit, splits batches without a trace, and says what is wrong."""

import copy
import io
import math
import sys
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig
from minillm.training import (
    CausalLMObjective,
    Outcome,
    Trainer,
    TrainerCallback,
    TrainerConfig,
    TrainingArguments,
    TrainingDiverged,
    cosine_schedule,
)
from tests.training.toy import COUNTING, ToyLM

SMALL = {"batch_size": 4, "context_length": 8, "precision": "fp32", "progress": False, "learning_rate": 1e-2}


def trainer(model=None, data=COUNTING, eval_data=None, objective=None, **settings):
    compute_metrics = settings.pop("compute_metrics", None)
    on_step = settings.pop("on_step", None)
    config = TrainerConfig(**{"max_steps": 10, **SMALL, **settings})
    return Trainer(model or ToyLM(), config, data, eval_data, objective, compute_metrics, on_step)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))


def tiny_models():
    llama = LlamaConfig(vocab_size=11, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
                        max_position_embeddings=32, tie_word_embeddings=True)  # fmt: skip
    return [Llama(llama), GPT2(GPT2Config(vocab_size=11, n_embd=16, n_layer=2, n_head=2, n_positions=32))]


def test_it_learns_to_count_and_tells_so():
    run = trainer(max_steps=150, eval_data=COUNTING[:100], eval_every=50, log_every=10, warmup_steps=5)
    history = run.train()
    assert [record["step"] for record in history] == list(range(10, 151, 10))
    assert history[0]["train_loss"] > 1.5
    assert history[-1]["eval_loss"] < 0.1
    assert [r["step"] for r in history if r["eval_loss"] is not None] == [50, 100, 150]
    assert history[-1]["tokens"] == 150 * 4 * 8
    assert history[-1]["tokens_per_second"] > 0
    assert history[4]["learning_rate"] == cosine_schedule(50, 151, 1e-2, 5)
    assert history is run.history


def test_the_history_counts_the_steps_before_ctrl_c_too():
    straight = trainer(max_steps=12, log_every=5)
    expected = [(record["step"], record["tokens"]) for record in straight.train()]
    stopped = trainer(max_steps=12, log_every=5)
    draw = stopped.train_source.batch

    def interrupt(seed, step, *rest):
        if step == 7:  # two steps after the record of step 5
            raise KeyboardInterrupt
        return draw(seed, step, *rest)

    stopped.train_source.batch = interrupt
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    stopped.train_source.batch = draw
    history = stopped.train()
    assert [(record["step"], record["tokens"]) for record in history] == expected
    assert expected[-1] == (12, 12 * 4 * 8)
    assert all(a["seconds"] < b["seconds"] for a, b in pairwise(history))


@pytest.mark.parametrize("model", tiny_models(), ids=["llama", "gpt2"])
def test_it_trains_the_models(model):
    history = trainer(model, max_steps=60, log_every=1).train()
    assert history[-1]["train_loss"] < history[0]["train_loss"] / 2


def test_the_first_steps_equal_a_loop_of_torch_parts():
    """The whole loop against torch.optim.AdamW, clip_grad_norm_ and cross_entropy in a loop written out."""
    ours, theirs = ToyLM(dropout=0.0), ToyLM(dropout=0.0)
    run = trainer(ours, max_steps=6, max_grad_norm=0.3, weight_decay=0.2, warmup_steps=2)
    history = run.train()
    matrices = [p for p in theirs.parameters() if p.ndim >= 2]
    vectors = [p for p in theirs.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.2}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    for step in range(6):
        ids = run.train_source.batch(0, step, 4, 8)["input_ids"]
        loss = F.cross_entropy(theirs(ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(theirs.parameters(), 0.3)
        for group in optimizer.param_groups:
            group["lr"] = cosine_schedule(step + 1, 7, 1e-2, 2)
        optimizer.step()
        assert history[step]["train_loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert history[step]["gradient_norm"] == pytest.approx(norm.item(), rel=1e-4)
    for a, b in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_same_seed_same_bits_and_another_seed_another_run():
    runs = [trainer(max_steps=5, seed=seed) for seed in (1, 1, 2)]
    for run in runs:
        run.train()
    assert same(runs[0].model, runs[1].model)
    assert not same(runs[0].model, runs[2].model)


def test_global_randomness_neither_matters_nor_moves():
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    one = trainer(max_steps=3)
    one.train()
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002
    torch.manual_seed(2)
    two = trainer(max_steps=3)
    two.train()
    assert same(one.model, two.model)


@pytest.mark.parametrize("data", ["stream", "examples"])
def test_accumulated_passes_equal_one_big_batch(data):
    """Examples of different lengths: each pass must weigh by its targets, not one half each."""
    lengths = torch.Generator().manual_seed(0)
    examples = [COUNTING[: int(torch.randint(2, 9, (1,), generator=lengths))].tolist() for _ in range(16)]
    source = COUNTING if data == "stream" else examples
    models = [ToyLM(dropout=0.0) for _ in range(3)]
    for model, (size, passes) in zip(models, ((8, 1), (4, 2), (2, 4))):
        trainer(model, source, max_steps=4, batch_size=size, gradient_accumulation=passes).train()
    for other in models[1:]:
        for a, b in zip(models[0].parameters(), other.parameters()):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_averaging_averages_is_another_gradient():
    """Passes of 70 and 7 targets: half of each mean is wrong, and not what the Trainer learns from."""
    rows = [COUNTING[:30].tolist(), COUNTING[5:36].tolist(), COUNTING[3:6].tolist(), COUNTING[40:46].tolist()]
    batches = {size: [rows[n : n + size] for n in range(0, 4, size)] for size in (4, 2)}

    def gradient(model, parts, weights):
        model.zero_grad()
        for part, weight in zip(parts, weights):
            logits = torch.cat([model(torch.tensor([row[:-1]])).logits[0] for row in part])
            (weight * F.cross_entropy(logits, torch.tensor([x for row in part for x in row[1:]]))).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    model = ToyLM(dropout=0.0)
    whole = gradient(model, batches[4], [1])
    by_targets = gradient(model, batches[2], [59 / 66, 7 / 66])
    by_halves = gradient(model, batches[2], [1 / 2, 1 / 2])
    torch.testing.assert_close(by_targets, whole, rtol=1e-4, atol=1e-6)
    assert (by_halves - whole).norm() > 0.1 * whole.norm()

    class Seen(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model, **parts):
            self.gradient = torch.cat([p.grad.flatten() for p in model.parameters()])

    seen = Seen()
    args = TrainingArguments(per_device_train_batch_size=2, gradient_accumulation_steps=2, max_steps=1, use_cpu=True,
                             train_sampling_strategy="sequential", max_grad_norm=0, disable_tqdm=True)  # fmt: skip
    examples = [{"input_ids": row, "labels": row} for row in rows]
    Trainer(model, args, train_dataset=examples, data_collator=padded, callbacks=[seen]).train()
    torch.testing.assert_close(seen.gradient, whole, rtol=1e-4, atol=1e-6)


def padded(rows):
    """A batch with -100 where a row is over."""
    ids, labels = (torch.nn.utils.rnn.pad_sequence([torch.tensor(row[name]) for row in rows], True, fill)
                   for name, fill in (("input_ids", 0), ("labels", -100)))  # fmt: skip
    return {"input_ids": ids, "labels": labels}


def test_bf16_stays_close_to_fp32_and_keeps_float32_weights():
    runs = [trainer(tiny_models()[0], max_steps=20, precision=precision) for precision in ("fp32", "bf16")]
    losses = [run.train()[-1]["train_loss"] for run in runs]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert losses[1] != losses[0]
    assert {p.dtype for p in runs[1].model.parameters()} == {torch.float32}


def test_evaluation_is_the_mean_over_targets_and_gives_peers_metrics():
    seen = {}

    def accuracy(prediction):
        logits, labels = prediction  # unpacks, as in transformers
        seen["shapes"] = (logits.shape, labels.shape)
        counted = labels != -100
        return {"accuracy": (logits.argmax(-1) == labels)[counted].mean()}

    examples = [[0, 1, 2, 3], [4, 5], [6, 7, 8]]
    run = trainer(ToyLM(dropout=0.5), eval_data=examples, batch_size=2, compute_metrics=accuracy)
    found = run.evaluate()
    run.model.eval()
    losses = []
    with torch.no_grad():
        for ids in examples:
            logits = run.model(torch.tensor([ids[:-1]])).logits[0]
            losses += F.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none").tolist()
    assert found["eval_loss"] == pytest.approx(sum(losses) / 6, rel=1e-5)
    assert 0 <= found["eval_accuracy"] <= 1
    assert seen["shapes"] == ((3, 3, 11), (3, 3))  # padded to the widest batch
    assert trainer(eval_data=COUNTING[:50]).evaluate() == trainer(eval_data=COUNTING[:50]).evaluate()


def test_the_model_keeps_its_mode_and_gets_called_back():
    model, records = ToyLM().eval(), []
    history = trainer(model, max_steps=3, on_step=lambda record: records.append(record["step"])).train()
    assert not model.training
    assert records == [1, 2, 3] == [record["step"] for record in history]


def test_training_on_past_the_end_does_nothing():
    run = trainer(max_steps=2)
    run.train()
    before = copy.deepcopy(run.model)
    assert len(run.train()) == 2
    assert same(run.model, before)


def test_frozen_parameters_stay():
    model = ToyLM()
    model.body.embed.weight.requires_grad_(False)
    before = model.body.embed.weight.clone()
    trainer(model, max_steps=3).train()
    assert torch.equal(model.body.embed.weight, before)


def test_norms_and_biases_do_not_decay():
    model = ToyLM(dropout=0.0)
    run = trainer(model, weight_decay=0.5)
    decays = {id(p): group["weight_decay"] for group in run.optimizer.param_groups for p in group["params"]}
    assert decays[id(model.body.norm.weight)] == decays[id(model.head.bias)] == 0
    assert decays[id(model.body.embed.weight)] == decays[id(model.head.weight)] == 0.5


@pytest.mark.parametrize(("terminal", "progress"), [(True, True), (True, False), (False, True)])
def test_the_progress_bar_is_shown_on_a_terminal_and_can_be_switched_off(
    terminal, progress, monkeypatch, capsys
):
    class Stream(io.StringIO):
        def isatty(self):
            return terminal

    monkeypatch.setattr(sys, "stderr", Stream())
    trainer(max_steps=3, progress=progress).train()
    assert ("3/3" in sys.stderr.getvalue()) == (terminal and progress)
    assert sys.stderr.getvalue() == "" or (terminal and progress)
    assert capsys.readouterr().out == ""


class Poisoned(ToyLM):
    """Gives NaN from its third forward pass on."""

    calls = 0

    def forward(self, input_ids, attention_mask=None):
        self.calls += 1
        logits = super().forward(input_ids).logits
        return SimpleNamespace(logits=logits * (math.nan if self.calls >= 3 else 1.0))


def test_a_loss_that_is_no_number_stops_the_run_before_it_spoils_the_weights():
    run = trainer(Poisoned(), max_steps=9)
    with pytest.raises(TrainingDiverged, match="step 3: loss nan"):
        run.train()
    assert run.step == 2
    assert all(torch.isfinite(p).all() for p in run.model.parameters())


def test_labels_that_are_all_ignored():
    examples = [{"input_ids": [1, 2], "labels": [-100, -100]}]
    with pytest.raises(ValueError, match="no targets"):
        trainer(data=examples).train()
    with pytest.raises(ValueError, match="no targets"):
        trainer(eval_data=examples).evaluate()


def test_an_objective_of_ones_own():
    class OnlyTheLast(CausalLMObjective):
        def count(self, batch):
            return len(batch["labels"])

        def __call__(self, model, batch, predict=False):
            _, logits, labels = super().__call__(model, batch, predict)
            return Outcome(F.cross_entropy(logits[:, -1], labels[:, -1]), logits[:, -1:], labels[:, -1:])

    history = trainer(objective=OnlyTheLast(), max_steps=3).train()
    assert history[-1]["tokens"] == 12


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"model": "gpt2"}, "torch module"),
        ({"model": nn.Identity()}, "no parameter"),
        ({"config": {"max_steps": 3}}, "TrainerConfig"),
        ({"config": None}, "TrainerConfig"),
        ({"train_data": [1, 2, 3]}, "train_data: the token stream has 3 ids"),
        ({"train_data": [0, 11] * 50}, "id 11"),
        ({"eval_data": [1]}, "eval_data"),
        ({"train_data": [[1, 2, 11]]}, "id 11"),
        ({"config": TrainerConfig(1, context_length=33)}, "at most the model's 32"),
    ],
)
def test_bad_arguments(arguments, word):
    given = {
        "model": ToyLM(),
        "config": TrainerConfig(**SMALL, max_steps=2),
        "train_data": COUNTING,
        **arguments,
    }
    with pytest.raises(ValueError, match=word):
        Trainer(**given)


def test_evaluate_without_data():
    with pytest.raises(ValueError, match="eval_data"):
        trainer().evaluate()
