"""A Trainer with TrainingArguments and examples: epochs, orders, resuming, best models, predictions."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minillm.training import (
    AdamW,
    DataCollatorForLanguageModeling,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    OwnLossObjective,
    QuestionAnsweringObjective,
    Trainer,
    TrainerCallback,
    TrainerConfig,
    TrainingArguments,
    checkpoints,
    open_loop,
)
from minillm.training.feed import epoch_order, length_grouped_order
from tests.training.classifier import Padding, bits, classes, classifier_run, tiny_classifier
from tests.training.test_trainer import same
from tests.training.toy import COUNTING, ToyLM


class Interrupted(BaseException):
    """Stands for Ctrl-C."""


class StopAfter(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_save(self, args, state, control, **parts):
        if state.global_step == self.step:
            raise Interrupted


def test_epochs_deal_every_example_once_and_the_last_batch_is_a_partial_one():
    run = classifier_run(per_device_train_batch_size=8, num_train_epochs=2, gradient_accumulation_steps=4)
    feed = run.train_feed
    assert (run.steps_per_epoch, run.state.max_steps) == (2, 4)
    for epoch in (0, 1):
        batches = [batch for place in range(2) for batch in feed.passes(0, epoch, place)]
        assert [len(batch["labels"]) for batch in batches] == [8, 8, 8, 8, 8, 5]
        seen = [tuple(row[row > 0].tolist()) for batch in batches for row in batch["input_ids"]]
        assert seen == [tuple(feed.data[i]["input_ids"]) for i in epoch_order(45, 0, epoch)]
    assert run.train()[-1]["epoch"] == 2.0
    assert run.history[-1]["tokens"] == 90


def test_processes_share_a_batch_without_a_gap():
    """Two processes with batches of 4 read what one reads in batches of 8, in both kinds of feed."""
    for accumulation in (1, 3):
        one = classifier_run(
            per_device_train_batch_size=8, gradient_accumulation_steps=accumulation
        ).train_feed
        two = classifier_run(
            per_device_train_batch_size=4, gradient_accumulation_steps=accumulation
        ).train_feed
        assert one.steps_per_epoch(1) == two.steps_per_epoch(2)
        for place in range(one.steps_per_epoch(1)):
            whole = [label for batch in one.passes(0, 0, place) for label in batch["labels"].tolist()]
            parts = [two.passes(0, 0, place, rank, 2) for rank in (0, 1)]
            assert len(whole) == sum(len(batch["labels"]) for part in parts for batch in part)
            assert sorted(whole) == sorted(
                x for part in parts for batch in part for x in batch["labels"].tolist()
            )


@pytest.mark.parametrize("step", [3, 6, 8])
@pytest.mark.parametrize("strategy", ["steps", "epoch"])
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(tmp_path, step, strategy):
    """Data order, dropout, best metric and the counter of early stopping included."""
    if strategy == "epoch" and step % 3:
        step = 9
    settings = {
        "eval_rows": classes(20, seed=1), "eval_strategy": strategy, "eval_steps": 1, "save_strategy": strategy,
        "save_steps": 1, "num_train_epochs": 5, "per_device_train_batch_size": 16, "load_best_model_at_end": True,
        "metric_for_best_model": "loss", "logging_steps": 2, "lr_scheduler_type": "cosine", "warmup_ratio": 0.2,
    }  # fmt: skip
    patience = {"steps": 4, "epoch": 2}[strategy]
    unbroken = classifier_run(tmp_path / "a", callbacks=[EarlyStoppingCallback(patience, 0.003)], **settings)
    unbroken.train()
    assert unbroken.step >= step
    callbacks = [EarlyStoppingCallback(patience, 0.003), StopAfter(step)]
    with pytest.raises(Interrupted):
        classifier_run(tmp_path / "b", callbacks=callbacks, **settings).train()
    resumed = classifier_run(tmp_path / "b", callbacks=[EarlyStoppingCallback(patience, 0.003)], **settings)
    resumed.train(resume_from_checkpoint=True)
    assert bits(resumed) == bits(unbroken)


def test_a_run_that_was_stopped_early_stays_stopped(tmp_path):
    settings = {"eval_rows": classes(9, seed=1), "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1,
                "metric_for_best_model": "loss", "num_train_epochs": 20, "learning_rate": 1.0}  # fmt: skip
    run = classifier_run(tmp_path, callbacks=[EarlyStoppingCallback(2)], **settings)
    run.train()
    assert run.step < run.state.max_steps
    again = classifier_run(tmp_path, callbacks=[EarlyStoppingCallback(2)], **settings)
    again.train(resume_from_checkpoint=True)
    assert bits(again) == bits(run)


@pytest.mark.parametrize("settings", [{}, {"num_train_epochs": 1, "weight_decay": 0.1}, {"warmup_steps": 5}])
def test_the_open_loop_gives_the_same_bits(settings):
    rows, models = classes(45), [tiny_classifier(), tiny_classifier()]
    given = {"num_train_epochs": 3, "learning_rate": 1e-2, "weight_decay": 0.0} | settings
    losses = open_loop(models[0], rows, DataCollatorWithPadding(Padding()), epochs=given["num_train_epochs"],
                       learning_rate=given["learning_rate"], weight_decay=given["weight_decay"],
                       warmup_steps=given.get("warmup_steps", 0))  # fmt: skip
    run = classifier_run(model=models[1], rows=rows, logging_steps=1, **given | {"seed": 42})
    assert [record["train_loss"] for record in run.train()] == losses
    assert same(*models)
    assert not same(models[0], tiny_classifier())


def test_the_open_loop_gives_back_the_generator_and_refuses_nothing_to_learn():
    state = torch.get_rng_state()
    open_loop(tiny_classifier(), classes(8), DataCollatorWithPadding(Padding()), epochs=1)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ValueError, match="at least one"):
        open_loop(tiny_classifier(), [], DataCollatorWithPadding(Padding()))
    for wrong in (
        {"learning_rate": -1},
        {"learning_rate": math.nan},
        {"weight_decay": -1},
        {"seed": -1},
        {"seed": 1.5},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
            open_loop(tiny_classifier(), classes(8), DataCollatorWithPadding(Padding()), **wrong)
    for model, collate in ((None, DataCollatorWithPadding(Padding())), (tiny_classifier(), None)):
        with pytest.raises(ValueError, match="a model and a collator are needed"):
            open_loop(model, classes(8), collate)


def test_random_masks_are_drawn_again_after_a_stop(tmp_path):
    rows = [{"input_ids": COUNTING[i : i + 8].tolist()} for i in range(40)]

    class Masked(ToyLM):
        def architecture(self):
            return "ToyForMaskedLM"

    def run(folder, callbacks=None):
        args = TrainingArguments(folder, max_steps=7, save_steps=1, disable_tqdm=True, learning_rate=1e-2)
        tokens = Padding()
        tokens.vocab_size, tokens.special_tokens = 11, {"[MASK]": 4}
        collate = DataCollatorForLanguageModeling(tokens, mlm_probability=0.3)
        return Trainer(Masked(), args, train_dataset=rows, data_collator=collate, callbacks=callbacks)

    whole = run(tmp_path / "a")
    whole.train()
    with pytest.raises(Interrupted):
        run(tmp_path / "b", [StopAfter(4)]).train()
    rest = run(tmp_path / "b")
    rest.train(resume_from_checkpoint=True)
    assert same(whole.model, rest.model)
    assert whole.evaluate(rows) == rest.evaluate(rows)


def test_lengths_are_grouped_and_every_example_dealt():
    lengths = np.random.default_rng(0).integers(1, 100, 200)
    order = length_grouped_order(lengths, 8, 0, 0)
    assert sorted(order) == list(range(200))
    assert lengths[order[0]] == lengths.max()

    def padding(order):
        return sum(8 * lengths[order[i : i + 8]].max() for i in range(0, 200, 8)) - lengths.sum()

    assert padding(order) < padding(epoch_order(200, 0, 0)) / 3
    run = classifier_run(group_by_length=True, num_train_epochs=1)
    sizes = [len(row["input_ids"]) for row in run.train_feed.data]
    expected = [run.train_feed.data[int(place)] for place in length_grouped_order(sizes, 8, 0, 0)]
    dealt = [batch for place in range(6) for batch in run.train_feed.passes(0, 0, place)]
    found = [
        ids[mask.bool()].tolist()
        for batch in dealt
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"])
    ]
    assert len(set(sizes)) > 1
    assert found == [list(row["input_ids"]) for row in expected]
    assert (
        sum(len(batch["labels"]) for place in range(6) for batch in run.train_feed.passes(0, 0, place)) == 45
    )


def test_the_best_model_is_loaded_and_kept(tmp_path):
    losses = iter([0.5, 0.2, 0.4, 0.6, 0.9])
    run = classifier_run(tmp_path, eval_rows=classes(5), num_train_epochs=5, eval_strategy="epoch",
                         save_strategy="epoch", load_best_model_at_end=True, save_total_limit=2)  # fmt: skip
    run.evaluate = lambda: {"eval_loss": next(losses)}
    seen = {}

    class Keep(TrainerCallback):
        def on_save(self, args, state, control, model, **parts):
            seen[state.global_step] = copy.deepcopy(model)

    run.add_callback(Keep)
    run.train()
    assert run.state.best_metric == 0.2
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-12", "checkpoint-30"]
    assert same(run.model, seen[12])
    assert not same(run.model, seen[30])


@pytest.mark.parametrize(("strategy", "kept"), [("best", [6, 12]), ("epoch", [6, 12, 18, 24])])
def test_strategies_of_saving(tmp_path, strategy, kept):
    losses = iter([0.5, 0.2, 0.4, 0.6])
    run = classifier_run(
        tmp_path, eval_rows=classes(5), num_train_epochs=4, eval_strategy="epoch", save_strategy=strategy
    )
    run.evaluate = lambda: {"eval_loss": next(losses)}
    run.train()
    assert [int(path.name.split("-")[1]) for path in checkpoints(tmp_path)] == kept


def test_what_a_run_logs_and_when():
    run = classifier_run(eval_rows=classes(5), num_train_epochs=2, eval_strategy="steps", eval_steps=5, logging_steps=4,
                         logging_first_step=True, eval_on_start=True, eval_delay=4)  # fmt: skip
    run.train()
    *log, end = run.state.log_history
    kinds = [("eval" if "eval_loss" in one else "loss", one["step"]) for one in log]
    assert kinds == [("eval", 0), ("loss", 1), ("loss", 4), ("eval", 5), ("loss", 8), ("eval", 10), ("loss", 12),
                     ("eval", 12)]  # fmt: skip
    assert (log[0]["epoch"], log[1]["epoch"]) == (0.0, pytest.approx(1 / 6))
    logged = {one["step"]: one["loss"] for one in run.state.log_history if "loss" in one}
    every = classifier_run(num_train_epochs=2, logging_steps=1)
    steps = [record["train_loss"] for record in every.train()]
    assert end["train_loss"] == pytest.approx(np.mean(steps), rel=1e-6)
    assert logged[8] == pytest.approx(np.mean(steps[4:8]), rel=1e-6)
    assert logged[4] == pytest.approx(np.mean(steps[1:4]), rel=1e-6)


def test_predictions_in_order_and_a_model_that_others_open(tmp_path):
    from minillm.models import load_model

    run = classifier_run(num_train_epochs=8)
    run.tokenizer = Padding()
    run.train()
    found = run.predict(classes(13, seed=4))
    assert found.predictions.shape == (13, 2)
    assert found.label_ids.tolist() == [row["labels"] for row in classes(13, seed=4)]
    assert found.metrics["test_accuracy"] == np.mean(found.predictions.argmax(-1) == found.label_ids) > 0.5
    bare = run.predict([{"input_ids": row["input_ids"]} for row in classes(13, seed=4)])
    assert bare.label_ids is None
    assert bare.metrics == {}
    assert np.array_equal(bare.predictions, found.predictions)
    model = load_model(run.save_model(tmp_path / "model"))
    assert same(model, run.model)
    assert (tmp_path / "model" / "tokenizer.json").exists()


def test_columns_that_the_model_does_not_take_are_left_out():
    rows = [row | {"title": "a text"} for row in classes(10)]
    classifier_run(rows=rows, max_steps=1).train()
    with pytest.raises(ValueError, match="the column 'title'"):
        classifier_run(rows=rows, max_steps=1, remove_unused_columns=False).train()
    with pytest.raises(ValueError, match=r"columns \['label', 'title'\], of which the model takes none"):
        classifier_run(rows=[{"title": "a text", "label": 1}])


def test_an_optimiser_and_a_schedule_of_ones_own(tmp_path):
    def run(folder, callbacks=None):
        model = tiny_classifier()
        groups = [{"params": model.body.parameters(), "lr": 1e-3}, {"params": model.classifier.parameters()}]
        optimizer = torch.optim.SGD(groups, lr=1e-2, momentum=0.9)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        args = TrainingArguments(folder, max_steps=6, save_steps=1, logging_steps=1, disable_tqdm=True)
        return Trainer(model, args, train_dataset=classes(45), data_collator=DataCollatorWithPadding(Padding()),
                       optimizers=(optimizer, schedule), callbacks=callbacks)  # fmt: skip

    whole = run(tmp_path / "a")
    assert [record["learning_rate"] for record in whole.train()] == [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4, 2.5e-4]
    with pytest.raises(Interrupted):
        run(tmp_path / "b", [StopAfter(3)]).train()
    rest = run(tmp_path / "b")
    rest.train(resume_from_checkpoint=True)
    assert same(whole.model, rest.model)


def test_groups_of_an_optimiser_keep_their_proportion():
    model = tiny_classifier()
    groups = [
        {"params": model.body.parameters(), "lr": 1e-3},
        {"params": model.classifier.parameters(), "lr": 1e-2},
    ]
    run = Trainer(model, TrainingArguments(max_steps=4, disable_tqdm=True), train_dataset=classes(45),
                  data_collator=DataCollatorWithPadding(Padding()), optimizers=(AdamW(groups), None))  # fmt: skip
    run.train()
    assert [group["lr"] for group in run.optimizer.param_groups] == pytest.approx([1e-3 / 4, 1e-2 / 4])


def test_a_model_with_a_loss_of_its_own():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(31, 2)

        def forward(self, input_ids, attention_mask=None, labels=None):
            from types import SimpleNamespace

            logits = self.table(input_ids).mean(1)
            return SimpleNamespace(logits=logits, loss=F.cross_entropy(logits, labels))

    args = TrainingArguments(max_steps=60, learning_rate=0.5, logging_steps=1, disable_tqdm=True)
    run = Trainer(Own(), args, train_dataset=classes(45), data_collator=DataCollatorWithPadding(Padding()))
    assert isinstance(run.objective, OwnLossObjective)
    history = run.train()
    assert history[-1]["train_loss"] < history[0]["train_loss"] / 2


class Weighted(Trainer):
    """As in transformers' own guide: the second class counts five times."""

    weights = (1.0, 5.0)

    def compute_loss(self, model, inputs, num_items_in_batch=None, return_outputs=False):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = F.cross_entropy(outputs.logits, labels, weight=torch.tensor(self.weights))
        return (loss, outputs) if return_outputs else loss


def test_a_trainer_with_a_loss_of_its_own(tmp_path):
    class Even(Weighted):
        weights = (1.0, 1.0)

    runs = {}
    for kind in (Trainer, Even, Weighted):
        args = TrainingArguments(tmp_path / kind.__name__, learning_rate=1e-2, max_steps=8, disable_tqdm=True,
                                 gradient_accumulation_steps=2)  # fmt: skip
        runs[kind] = kind(tiny_classifier(), args, train_dataset=classes(45), eval_dataset=classes(9, seed=1),
                          data_collator=DataCollatorWithPadding(Padding()),
                          compute_metrics=lambda p: {"ones": (p.predictions.argmax(-1) == 1).mean()})  # fmt: skip
        runs[kind].train()
    plain, even, weighted = runs.values()
    for a, b in zip(plain.model.parameters(), even.model.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert even.evaluate() == pytest.approx(plain.evaluate(), rel=1e-4)
    assert not same(plain.model, weighted.model)
    found = weighted.predict(classes(9, seed=1))
    logits, labels = torch.from_numpy(found.predictions), torch.from_numpy(found.label_ids)
    # batches of 8 and 1: a mean over the targets, whatever the loss made of each batch
    parts = [
        F.cross_entropy(logits[s], labels[s], weight=torch.tensor([1.0, 5.0]))
        for s in (slice(8), slice(8, 9))
    ]
    assert found.metrics["test_loss"] == pytest.approx(float(parts[0] * 8 + parts[1]) / 9, rel=1e-5)
    with pytest.raises(ValueError, match="give no objective"):
        Weighted(tiny_classifier(), TrainingArguments(label_smoothing_factor=0.1), train_dataset=classes(9))


def test_a_loss_that_is_none():
    class Bad(Trainer):
        def compute_loss(self, model, inputs, return_outputs=False):
            return 3.0

    run = Bad(tiny_classifier(), TrainingArguments(max_steps=1, disable_tqdm=True), train_dataset=classes(9),
              data_collator=DataCollatorWithPadding(Padding()))  # fmt: skip
    with pytest.raises(ValueError, match=r"must return a loss of no axes, got 3\.0"):
        run.train()


def test_answers_in_a_text_are_learned_and_equal_the_closed_form():
    from minillm.models import BERTForQuestionAnswering

    model = BERTForQuestionAnswering(tiny_classifier().config)
    rows = [{"input_ids": [5, 6, 7, 8], "start_positions": 1, "end_positions": 2},
            {"input_ids": [9, 8, 7], "start_positions": 0, "end_positions": 9}]  # fmt: skip
    batch = DataCollatorWithPadding(Padding())(rows)
    found = QuestionAnsweringObjective()(model.eval(), batch)
    out = model(batch["input_ids"], batch["attention_mask"])
    expected = F.cross_entropy(out.start_logits, torch.tensor([1, 0])) + F.cross_entropy(
        out.end_logits[:1], torch.tensor([2])
    )
    torch.testing.assert_close(found.loss, expected / 2)
    args = TrainingArguments(max_steps=30, learning_rate=1e-2, logging_steps=1, disable_tqdm=True)
    history = Trainer(
        model, args, train_dataset=rows, data_collator=DataCollatorWithPadding(Padding())
    ).train()
    assert history[-1]["train_loss"] < history[0]["train_loss"] / 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train_dataset": []}, "at least one example"),
        ({"train_data": classes(2)}, "train_data and train_dataset"),
        ({"args": None}, "TrainerConfig or TrainingArguments"),
        ({"config": TrainerConfig(1)}, "config and args"),
        ({"args": TrainingArguments(eval_strategy="epoch")}, "needs an eval_dataset"),
        (
            {"train_dataset": [3] * 300, "args": TrainingArguments(context_length=8)},
            "max_steps must be above 0",
        ),
        ({"data_collator": 3}, "data_collator"),
        ({"callbacks": [3]}, "callback"),
        ({"callbacks": EarlyStoppingCallback()}, "callbacks must be a list"),
        ({"optimizers": 3}, "optimizers must be a pair"),
        ({"optimizers": (3, None)}, r"optimizers\[0\]"),
        ({"processing_class": 3}, "save"),
        (
            {
                "args": TrainingArguments(label_smoothing_factor=0.1),
                "objective": QuestionAnsweringObjective(),
            },
            "smoothing",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_the_run(given, message):
    usual = {
        "args": TrainingArguments(),
        "train_dataset": classes(4),
        "data_collator": DataCollatorWithPadding(Padding()),
    }
    with pytest.raises(ValueError, match=message):
        Trainer(tiny_classifier(), **usual | given)


def test_early_stopping_needs_a_metric():
    with pytest.raises(ValueError, match="metric_for_best_model"):
        classifier_run(callbacks=[EarlyStoppingCallback()]).train()
    with pytest.raises(ValueError, match="'f1', the evaluation gave"):
        classifier_run(eval_rows=classes(3), eval_strategy="epoch", metric_for_best_model="f1").train()


def test_a_checkpoint_of_other_data_or_settings_is_refused(tmp_path):
    classifier_run(tmp_path, save_steps=2, num_train_epochs=1).train()
    with pytest.raises(ValueError, match="updates"):
        classifier_run(tmp_path, num_train_epochs=1, rows=classes(99)).train(resume_from_checkpoint=True)
    with pytest.raises(ValueError, match="seed 0 -> 1"):
        classifier_run(tmp_path, num_train_epochs=1, seed=1).train(resume_from_checkpoint=True)
    with pytest.raises(ValueError, match="output_dir"):
        classifier_run().train(resume_from_checkpoint=True)
