"""TrainingArguments: what makes no run is refused, and what follows from what; the short form says the same."""

import math

import pytest

from minillm.training import TrainerConfig, TrainingArguments, cosine_schedule, schedule
from minillm.training.arguments import long_form, steps_of


def test_an_unknown_name_is_refused_and_the_nearest_one_named():
    for name, nearest in {
        "learningrate": "learning_rate",
        "num_epochs": "num_train_epochs",
        "per_device_batch_size": "per_device_eval_batch_size",
    }.items():
        with pytest.raises(ValueError, match=f"has no {name} .*nearest name is ") as caught:
            TrainingArguments(**{name: 1})
        assert nearest in str(caught.value)
    with pytest.raises(ValueError, match=r"has no xyzzy \(got 3\)$"):
        TrainingArguments(xyzzy=3)


@pytest.mark.parametrize(
    "settings",
    [{"max_steps": 1.5}, {"num_train_epochs": -1}, {"num_train_epochs": 0}, {"learning_rate": -1},
     {"per_device_train_batch_size": 0}, {"gradient_accumulation_steps": 0}, {"lr_scheduler_type": "sinus"},
     {"warmup_ratio": 1.5}, {"warmup_steps": -1}, {"weight_decay": "much"}, {"adam_beta1": 1.0}, {"adam_epsilon": -1},
     {"max_grad_norm": -1}, {"label_smoothing_factor": 2}, {"bf16": 1}, {"eval_strategy": "often"},
     {"logging_steps": 0}, {"logging_steps": 2.5}, {"save_strategy": "steps"}, {"save_strategy": "sometimes"},
     {"save_total_limit": 0}, {"output_dir": 3}, {"seed": -1}, {"report_to": "wandb"},
     {"gradient_checkpointing": 1}, {"fp16": True, "device": "meta"},
     {"load_best_model_at_end": True}, {"greater_is_better": "yes"}, {"device": "warp"},
     {"train_sampling_strategy": "x"},
     {"lr_scheduler_kwargs": {"cycles": 3}}],
    ids=str,
)  # fmt: skip
def test_bad_settings(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        TrainingArguments(**settings)


def test_what_follows_from_what():
    assert TrainingArguments().save_strategy == "no"
    assert TrainingArguments("out").save_strategy == "steps"
    assert TrainingArguments(group_by_length=True).train_sampling_strategy == "group_by_length"
    assert TrainingArguments(eval_strategy="steps", logging_steps=7).eval_steps == 7
    best = TrainingArguments("out", eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True)
    assert (best.metric_for_best_model, best.greater_is_better) == ("loss", False)
    assert TrainingArguments(metric_for_best_model="accuracy").greater_is_better is True
    for strategies in ({"eval_strategy": "epoch"}, {"eval_strategy": "steps", "eval_steps": 300}):
        with pytest.raises(ValueError, match="load_best_model_at_end needs"):
            TrainingArguments("out", load_best_model_at_end=True, **strategies)
    with pytest.raises(ValueError, match="exclude each other"):
        TrainingArguments(bf16=True, fp16=True)


def test_steps_as_a_share_of_all():
    assert [steps_of(every, 30) for every in (1, 7, 0.1, 0.25, 0.001)] == [1, 7, 3, 8, 1]


def test_the_short_form_says_the_same():
    config = TrainerConfig(
        30, batch_size=3, learning_rate=0.5, warmup_steps=4, min_learning_rate=0.1, betas=(0.8, 0.9), precision="bf16",
        eval_every=7, log_every=2, checkpoint_folder="runs", checkpoint_every=5, max_grad_norm=None, progress=False,
    )  # fmt: skip
    args = long_form(config, evaluates=True)
    assert (args.eval_strategy, args.eval_steps, args.logging_steps) == ("steps", 7, 2)
    assert (args.save_strategy, args.save_steps, args.output_dir) == ("steps", 5, "runs")
    assert (args.bf16, args.max_grad_norm, args.disable_tqdm) == (True, None, True)
    rate = config.rate(30)
    assert [rate(step) for step in (0, 3, 29)] == [
        cosine_schedule(step + 1, 31, 0.5, 4, 0.1) for step in (0, 3, 29)
    ]
    bare = long_form(TrainerConfig(30), evaluates=False)
    assert (bare.eval_strategy, bare.save_strategy) == ("no", "no")


def test_a_schedule_that_ends_at_its_start_and_unknown_ones():
    assert schedule("linear", 1, 2.0)(0) == 2.0
    assert schedule("constant", 10, 2.0, 5)(0) == 2.0
    assert schedule("polynomial", 10, 0.0)(3) == 0.0
    assert math.isclose(schedule("inverse_sqrt", 100, 1.0, 4)(16), 0.5)
    with pytest.raises(ValueError, match="lr_scheduler_type must be one of"):
        schedule("cosinus", 10)
    with pytest.raises(ValueError, match=r"'linear' may be .*, got power"):
        schedule("linear", 10, options={"power": 2})
