"""What cannot work is said before the first step, and what would be left out in silence is refused."""

import errno
import math
import os
import shutil
import time

import numpy as np
import pytest
import torch
from torch import nn

from minillm.tokenizer import WordPieceTokenizer
from minillm.training import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    Outcome,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    TrainingDiverged,
    checkpoints,
)
from minillm.training import checkpoint as checkpoint_module
from minillm.training.feed import length_grouped_order
from minillm.training.loss_scaling import LossScale
from tests.training.classifier import Padding, classes, classifier_run, tiny_classifier
from tests.training.test_trainer import same


def own_run(folder, optimizer=torch.optim.SGD, schedule=None, model=None, **settings):
    """A run with an optimiser and a schedule of one's own."""
    model = model or tiny_classifier()
    steps = optimizer(model.parameters(), lr=1e-2)
    args = TrainingArguments(folder, **{"max_steps": 4, "save_steps": 2, "disable_tqdm": True} | settings)
    return Trainer(model, args, train_dataset=classes(45), data_collator=DataCollatorWithPadding(Padding()),
                   optimizers=(steps, schedule and schedule(steps)))  # fmt: skip


class Remembers:
    """A factor of the learning rate that LambdaLR would save, with a tensor in it."""

    def __init__(self):
        self.table = torch.ones(3)

    def __call__(self, step):
        return 1.0


class Counts(TrainerCallback):
    def __init__(self, state):
        self.kept = state

    def state(self):
        return self.kept


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: run.add_callback(Counts({"attributes": {"x": np.float32(1)}})), "callbacks: Object of type"),
        (lambda run: run.add_callback(Counts(3)), r"Counts.state\(\) must be a dict"),
        (lambda run: setattr(run, "lr_scheduler", torch.optim.lr_scheduler.LambdaLR(run.optimizer, Remembers())),
         r"optimizers\[1\]: Object of type Tensor"),
        (lambda run: run.optimizer.param_groups[0].update(lr=torch.ones(())), r"optimizers\[0\]: Object"),
        (lambda run: setattr(run, "tokenizer", Unsaved.train(["a a"], 30)), "cannot be saved"),
    ],
)  # fmt: skip
def test_what_no_checkpoint_can_hold_is_refused_before_the_first_step(tmp_path, change, message):
    run = own_run(tmp_path)
    change(run)
    with pytest.raises(ValueError, match=message):
        run.train()
    assert run.step == 0
    assert list(tmp_path.iterdir()) == []


class Unsaved(WordPieceTokenizer):
    def save(self, path):
        raise ValueError("cannot be saved")


def test_without_checkpoints_a_schedule_may_remember_anything():
    run = own_run(None, schedule=lambda steps: torch.optim.lr_scheduler.LambdaLR(steps, Remembers()))
    assert run.train()[-1]["step"] == 4


def test_an_output_dir_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"output_dir must be a folder, .* is a file"):
        own_run(tmp_path / "file").train()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": torch.optim.LBFGS}, "LBFGS needs closure"),
        ({"schedule": torch.optim.lr_scheduler.ReduceLROnPlateau}, "ReduceLROnPlateau needs metrics"),
        ({"optimizer": lambda _, lr: torch.optim.SGD(tiny_classifier().parameters(), lr)}, "no parameter of this"),
        ({"schedule": lambda _: torch.optim.lr_scheduler.StepLR(torch.optim.SGD([nn.Parameter(torch.ones(1))]), 2)},
         "another optimizer"),
        ({"schedule": lambda _: 3}, r"optimizers\[1\] must be a schedule"),
    ],
)  # fmt: skip
def test_optimisers_and_schedules_that_cannot_work(given, message):
    with pytest.raises(ValueError, match=message):
        own_run(None, **given)


def test_a_class_that_overrides_what_is_never_called():
    for name, instead in {"training_step": "objective=", "create_optimizer": "optimizers="}.items():
        with pytest.raises(ValueError, match=f"Mine overrides {name}.* as {instead}"):
            type("Mine", (Trainer,), {name: lambda self: None})

    class Mixin:
        def training_step(self):
            pass

    with pytest.raises(ValueError, match="Mine overrides training_step"):
        type("Mine", (Mixin, Trainer), {})

    class Fine(Trainer):
        def evaluate(self, *args, **options):
            return super().evaluate(*args, **options)

    assert issubclass(Fine, Trainer)


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [("evaluation_strategy", "epoch", "eval_strategy"), ("no_cuda", True, "use_cpu"), ("hub_token", "x", "token="),
     ("overwrite_output_dir", True, "leave it out"), ("predict_with_generate", True, "generate with"),
     ("optim", "adafactor", r"optimizers=\("), ("push_to_hub", True, r"trainer.push_to_hub\(\)"),
     ("hub_model_id", 3, "hub_model_id must be a str")],
)  # fmt: skip
def test_names_that_scripts_use_and_what_to_write_instead(name, value, instead):
    with pytest.raises(ValueError, match=instead):
        TrainingArguments(**{name: value})


def test_what_has_no_effect_is_said():
    with pytest.warns(UserWarning, match="dataloader_num_workers=4 has no effect"):
        TrainingArguments(dataloader_num_workers=4)
    args = TrainingArguments(optim="adamw_torch", do_train=True, eval_strategy="epoch", run_name="x")
    assert (args.do_train, args.do_eval, args.do_predict) == (True, True, False)


def test_the_last_batch_may_not_be_all_there_is():
    with pytest.raises(ValueError, match="45 examples fill no batch of 64"):
        classifier_run(per_device_train_batch_size=64, dataloader_drop_last=True)
    assert classifier_run(per_device_train_batch_size=64, num_train_epochs=1).train()[-1]["tokens"] == 45


def test_labels_that_are_missing_are_said_before_the_first_step():
    bare = [{"input_ids": row["input_ids"]} for row in classes(9)]
    for given in ({"eval_rows": bare, "eval_strategy": "epoch"}, {"rows": bare}):
        run = classifier_run(**given)
        with pytest.raises(ValueError, match=r"labels .*got None in a batch of input_ids"):
            run.train()
        assert run.step == 0
    with pytest.raises(ValueError, match="an evaluation needs labels"):
        classifier_run().evaluate(bare)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [({"confusion": np.eye(2)}, r"'confusion' is ndarray of shape \(2, 2\)"), (None, "must return a dict"),
     ({"name": "good"}, "'name' is 'good'")],
)  # fmt: skip
def test_metrics_that_are_no_numbers(metrics, message):
    run = classifier_run(eval_rows=classes(4))
    run.compute_metrics = lambda prediction: metrics
    with pytest.raises(ValueError, match=message):
        run.evaluate()


def test_a_metric_that_is_no_number_is_never_the_best():
    """One NaN would else be the best for ever: nothing is smaller than it."""
    losses = iter([math.nan, 0.5, 0.4, math.nan, math.nan, 0.1])
    run = classifier_run(eval_rows=classes(5), num_train_epochs=6, eval_strategy="epoch",
                         metric_for_best_model="loss", callbacks=[EarlyStoppingCallback(2)])  # fmt: skip
    run.evaluate = lambda: {"eval_loss": next(losses)}
    run.train()
    assert (run.state.best_metric, run.state.best_global_step) == (0.4, 18)
    assert run.step == 30  # two in a row were no better


def test_lengths_are_grouped_in_the_batches_of_a_run():
    rows = classes(200)
    for name in ("train_dataset", "train_data"):
        args = TrainingArguments(group_by_length=True, seed=3)
        run = Trainer(
            tiny_classifier(), args, data_collator=DataCollatorWithPadding(Padding()), **{name: rows}
        )
        order = length_grouped_order([len(row["input_ids"]) for row in rows], 8, 3, 0)
        batches = [run.train_feed.passes(0, 0, place)[0] for place in range(25)]
        widths = [batch["input_ids"].shape[1] for batch in batches]
        assert widths == [max(len(rows[i]["input_ids"]) for i in order[s : s + 8]) for s in range(0, 200, 8)]
        assert sum(widths) < 25 * 10


class NoGradient:
    """A finite loss whose gradient is none at any scale."""

    def count(self, batch):
        return len(batch["labels"])

    def __call__(self, model, batch, predict=False):
        return Outcome((next(model.parameters()).sum() * 0).sqrt(), None, batch["labels"])


def test_fp16_that_no_scale_helps_ends_and_leaves_the_weights():
    model, before = tiny_classifier(), tiny_classifier()
    args = TrainingArguments(fp16=True, use_cpu=True, max_steps=200, disable_tqdm=True)
    run = Trainer(model, args, train_dataset=classes(45), objective=NoGradient(),
                  data_collator=DataCollatorWithPadding(Padding()))  # fmt: skip
    with pytest.raises(TrainingDiverged, match="infinite at every scale"):
        run.train()
    assert run.step == 30
    assert same(model, before)
    scale = LossScale()
    assert not scale.is_hopeless


def test_a_trainer_without_training_data_evaluates_and_predicts():
    run = classifier_run()
    alone = Trainer(
        run.model, TrainingArguments(), data_collator=run.data_collator, compute_metrics=run.compute_metrics
    )
    assert alone.evaluate(classes(9)) == run.evaluate(classes(9))
    assert np.array_equal(alone.predict(classes(9)).predictions, run.predict(classes(9)).predictions)
    with pytest.raises(ValueError, match=r"train\(\) needs a train_dataset"):
        alone.train()


def test_several_sets_to_evaluate_on():
    sets = {"near": classes(9, seed=1), "far": classes(7, seed=2)}
    run = classifier_run(
        eval_rows=sets, num_train_epochs=2, eval_strategy="epoch", metric_for_best_model="eval_far_loss"
    )
    run.train()
    expected = {f"eval_{name}_{what.removeprefix('eval_')}": value for name, rows in sets.items()
                for what, value in run.evaluate(rows).items()}  # fmt: skip
    assert run.evaluate() == expected
    assert len(expected) == 4
    assert run.state.best_metric == min(
        x["eval_far_loss"] for x in run.state.log_history if "eval_far_loss" in x
    )


def test_logits_are_made_less_before_they_are_kept():
    run = classifier_run(eval_rows=classes(13))
    expected, seen = run.evaluate(), []
    run.preprocess_logits = lambda logits, labels: logits.argmax(-1)

    def accuracy(prediction):
        seen.append(prediction.predictions)
        return {"accuracy": (prediction.predictions == prediction.label_ids).mean()}

    run.compute_metrics = accuracy
    assert run.evaluate() == expected
    assert seen[0].shape == (13,)
    assert seen[0].dtype == np.int64


def test_a_callback_sees_the_gradient_before_and_the_weights_after_an_update():
    seen = []

    class Looks(TrainerCallback):
        def note(self, name, model):
            weight = model.classifier.weight
            seen.append((name, float(weight.detach().sum()), weight.grad is not None))

        def on_substep_end(self, args, state, control, model, **parts):
            self.note("part", model)

        def on_pre_optimizer_step(self, args, state, control, model, **parts):
            self.note("before", model)

        def on_optimizer_step(self, args, state, control, model, **parts):
            self.note("after", model)

    classifier_run(callbacks=[Looks], gradient_accumulation_steps=3, max_steps=2, learning_rate=0.1).train()
    assert [name for name, _, _ in seen] == ["part", "part", "before", "after"] * 2
    assert seen[1][1] == seen[2][1] != seen[3][1] == seen[4][1]
    assert all(there for _, _, there in seen)


def test_a_second_run_in_a_folder_keeps_its_own_checkpoints_and_is_warned(tmp_path):
    settings = {"save_steps": 6, "save_total_limit": 1}
    classifier_run(tmp_path, num_train_epochs=5, **settings).train()
    run = classifier_run(tmp_path, num_train_epochs=2, **settings)
    with pytest.warns(UserWarning, match=r"another run, up to checkpoint-30\. This run begins anew"):
        run.train()
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-12", "checkpoint-30"]


def test_a_full_disk_ends_the_run_and_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    run, real, written = classifier_run(tmp_path, save_steps=3), checkpoint_module.save_tensors, []

    def until_full(path, *rest):
        written.append(path)
        if len(written) == 2:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path, *rest)

    monkeypatch.setattr(checkpoint_module, "save_tensors", until_full)
    with pytest.raises(OSError, match="No space left"):
        run.train()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]
    monkeypatch.undo()
    again = classifier_run(tmp_path, save_steps=3)
    again.train(resume_from_checkpoint=True)
    unbroken = classifier_run()
    unbroken.train()
    assert same(again.model, unbroken.model)


def test_what_a_killed_save_left_is_cleared_away_when_nobody_writes_it(tmp_path):
    for name, age in {"half": 7200, "fresh": 0}.items():
        draft = tmp_path / f".checkpoint-3.{name}"
        draft.mkdir()
        (draft / "model.safetensors").write_bytes(b"half")
        for path in (draft / "model.safetensors", draft):
            os.utime(path, (time.time() - age,) * 2)
    classifier_run(tmp_path, max_steps=1, save_steps=1).train()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".checkpoint-3.fresh", "checkpoint-1"]


def test_a_folder_that_was_half_deleted_is_in_nobodys_way(tmp_path):
    left = tmp_path / ".checkpoint-1.old"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    classifier_run(tmp_path, max_steps=3, save_steps=1, save_total_limit=1).train()
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-3"]
    assert [path.name for path in tmp_path.iterdir() if path != left] == ["checkpoint-3"]


def test_a_checkpoint_that_another_run_has_deleted_meanwhile(tmp_path, monkeypatch):
    classifier_run(tmp_path, max_steps=2, save_steps=1).train()
    listed = checkpoints(tmp_path)
    shutil.rmtree(listed[0])
    monkeypatch.setattr(checkpoint_module, "checkpoints", lambda folder: listed)
    checkpoint_module.remove_old(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]
