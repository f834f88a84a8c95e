"""Our Trainer against transformers': the same tiny folder, the same order of the data, step by step."""

import dataclasses

import numpy as np
import pytest
import torch

from minillm.models import load_model
from minillm.training import (
    DataCollatorForLanguageModeling,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    decay_groups,
    schedule,
)
from minillm.training.feed import epoch_order
from minillm.training.groups import their_names

transformers = pytest.importorskip("transformers", reason="the peer of this file: pip install -e '.[parity]'")
pytest.importorskip("accelerate", reason="transformers' Trainer needs it: pip install -e '.[parity]'")
tokenizers = pytest.importorskip("tokenizers", reason="the peer of this file: pip install -e '.[parity]'")

V = 31
BERT = {"vocab_size": V, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": 16, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip
LLAMA = {"vocab_size": V, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 32}  # fmt: skip


def tokenizer():
    words = {name: number for number, name in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])}
    words |= {f"w{number}": number for number in range(5, V)}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "[UNK]")),
        pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip


class Padding:
    """What our collators ask of a tokenizer."""

    pad_token_id, padding_side, vocab_size = 0, "right", V
    special_tokens = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}  # noqa: RUF012

    def save(self, folder):
        (folder / "tokenizer.json").write_text("{}")


def classes(count, labels="label", seed=0):
    """Texts of two kinds: the second id says which."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        kind, ids = int(rng.integers(2)), rng.integers(5, V, int(rng.integers(3, 12)))
        ids[:2] = 2, 10 + kind
        rows.append(
            {"input_ids": ids.tolist(), "attention_mask": [1] * len(ids), "title": "w7", labels: kind}
        )
    return rows


def texts(count, seed=0):
    rng = np.random.default_rng(seed)
    rows = [rng.integers(5, V, int(rng.integers(3, 12))).tolist() for _ in range(count)]
    return [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in rows]


def fold(tmp_path, head, config):
    torch.manual_seed(0)
    model = head(config)
    model.save_pretrained(tmp_path / "model")
    return model


class InOurOrder(torch.utils.data.Sampler):
    """The order of our epochs, one after the other."""

    def __init__(self, size, seed):
        self.size, self.seed, self.epoch = size, seed, -1

    def __len__(self):
        return self.size

    def __iter__(self):
        self.epoch += 1
        return iter(epoch_order(self.size, self.seed, self.epoch).tolist())


class TheirTrainer(transformers.Trainer):
    def _get_train_sampler(self, train_dataset=None):
        return InOurOrder(len(self.train_dataset), self.args.seed)


def both(
    tmp_path,
    model,
    rows,
    collators,
    eval_rows=None,
    compute_metrics=None,
    kinds=(TheirTrainer, Trainer),
    **settings,
):
    """(their Trainer, ours) after the same run on the same folder.

    A small rate: AdamW moves a weight whose gradient is all rounding as far as any other, which 1e-2 made 2e-5 wide.
    """
    given = {
        "per_device_train_batch_size": 8, "per_device_eval_batch_size": 8, "learning_rate": 3e-3, "logging_steps": 1,
        "disable_tqdm": True, "save_strategy": "no", "report_to": "none", "use_cpu": True, **settings,
    }  # fmt: skip
    parts = {"train_dataset": rows, "eval_dataset": eval_rows, "compute_metrics": compute_metrics}
    args = transformers.TrainingArguments(str(tmp_path / "theirs"), dataloader_pin_memory=False, **given)
    theirs = kinds[0](model, args, data_collator=collators[0], **parts)
    theirs.remove_callback(transformers.PrinterCallback)
    theirs.train()
    args = TrainingArguments(str(tmp_path / "ours"), **given)
    ours = kinds[1](load_model(tmp_path / "model"), args, data_collator=collators[1], **parts)
    ours.train()
    return theirs, ours


def same_run(theirs, ours, steps):
    """Losses, norms and rates of every step; the weights at the end."""
    logs = [[entry for entry in run.state.log_history if "loss" in entry] for run in (theirs, ours)]
    assert len(logs[0]) == len(logs[1]) == steps
    for a, b in zip(*logs):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5, abs=1e-5)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-3)
        assert b["learning_rate"] == pytest.approx(a["learning_rate"], rel=1e-9, abs=1e-12)
        assert b["epoch"] == pytest.approx(a["epoch"])
    expected = theirs.model.state_dict()
    for name, tensor in ours.model.to_hugging_face(ours.model.state_dict()).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=2e-5)


def accuracy(prediction):
    predictions, labels = prediction
    return {"accuracy": float((predictions.argmax(-1) == labels).mean())}


def pads():
    return transformers.DataCollatorWithPadding(tokenizer()), DataCollatorWithPadding(Padding())


@pytest.mark.parametrize(
    "settings",
    [
        {"num_train_epochs": 3},
        {"max_steps": 20, "lr_scheduler_type": "cosine", "warmup_steps": 5, "weight_decay": 0.3},
        {"max_steps": 20, "label_smoothing_factor": 0.2, "max_grad_norm": 0.05},
        {"num_train_epochs": 2.5, "adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-6, "seed": 5},
        {"num_train_epochs": 2, "lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2.0}},
        {"num_train_epochs": 3, "dataloader_drop_last": True},
    ],
    ids=str,
)
def test_a_classifier_learns_the_same(tmp_path, settings):
    """45 texts in batches of 8: the sixth batch of each epoch has five."""
    model = fold(tmp_path, transformers.BertForSequenceClassification, transformers.BertConfig(**BERT))
    theirs, ours = both(tmp_path, model, classes(45), pads(), classes(21, seed=1), accuracy, **settings)
    per_epoch = 5 if "dataloader_drop_last" in settings else 6
    steps = settings.get("max_steps") or int(np.ceil(settings["num_train_epochs"] * per_epoch))
    same_run(theirs, ours, steps)
    theirs.args.dataloader_drop_last = False  # it would leave out the last examples of an evaluation, too
    expected, found = theirs.evaluate(), ours.evaluate()
    assert found["eval_loss"] == pytest.approx(expected["eval_loss"], abs=1e-5)
    assert found["eval_accuracy"] == expected["eval_accuracy"]
    a, b = theirs.predict(classes(21, seed=1)), ours.predict(classes(21, seed=1))
    np.testing.assert_allclose(b.predictions, a.predictions, rtol=1e-3, atol=2e-5)
    assert np.array_equal(a.label_ids, b.label_ids)
    assert b.metrics["test_loss"] == pytest.approx(a.metrics["test_loss"], abs=1e-5)


class WeightedLoss:
    """The loss of a subclass: one text for both libraries."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = torch.nn.functional.cross_entropy(outputs.logits, labels, weight=torch.tensor([1.0, 5.0]))
        return (loss, outputs) if return_outputs else loss


class TheirWeighted(WeightedLoss, TheirTrainer):
    pass


class OurWeighted(WeightedLoss, Trainer):
    pass


def test_a_loss_of_a_subclass_is_learned_the_same(tmp_path):
    model = fold(tmp_path, transformers.BertForSequenceClassification, transformers.BertConfig(**BERT))
    theirs, ours = both(
        tmp_path, model, classes(45), pads(), kinds=(TheirWeighted, OurWeighted), num_train_epochs=3
    )
    same_run(theirs, ours, 18)


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_a_language_model_learns_the_same_in_several_passes(tmp_path, passes):
    """Texts of different lengths: passes weigh by their targets. 22 texts in batches of 4, the last one of two."""
    model = fold(tmp_path, transformers.LlamaForCausalLM, transformers.LlamaConfig(**LLAMA))
    collators = (
        transformers.DataCollatorForLanguageModeling(tokenizer(), mlm=False),
        DataCollatorForLanguageModeling(Padding(), mlm=False),
    )
    settings = {
        "gradient_accumulation_steps": passes,
        "per_device_train_batch_size": 4,
        "num_train_epochs": 3,
    }
    seen = []

    def shapes(prediction):
        seen.append([prediction.predictions.shape, prediction.label_ids.shape, prediction.label_ids.tolist()])
        return {}

    theirs, ours = both(tmp_path, model, texts(22), collators, texts(9, seed=1), shapes, **settings)
    same_run(theirs, ours, 3 * {1: 6, 2: 3, 3: 2}[passes])
    assert theirs.evaluate() is not None
    assert ours.evaluate() is not None
    assert seen[0] == seen[1]


def test_evaluation_and_the_best_model_are_the_same(tmp_path):
    """Evaluated at every epoch, the best of them loaded at the end; the same checkpoints are left."""
    model = fold(tmp_path, transformers.BertForSequenceClassification, transformers.BertConfig(**BERT))
    settings = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True,
                "num_train_epochs": 6, "metric_for_best_model": "loss", "save_total_limit": 2}  # fmt: skip
    theirs, ours = both(tmp_path, model, classes(30), pads(), classes(11, seed=3), accuracy, **settings)
    logs = [[x for x in run.state.log_history if "eval_loss" in x] for run in (theirs, ours)]
    assert len(logs[0]) == len(logs[1]) == 6
    for a, b in zip(*logs):
        assert (a["step"], a["epoch"], a["eval_accuracy"]) == (b["step"], b["epoch"], b["eval_accuracy"])
        assert b["eval_loss"] == pytest.approx(a["eval_loss"], abs=1e-4)
    assert ours.state.best_global_step == theirs.state.best_global_step
    steps = [sorted(int(x.name.split("-")[1]) for x in (tmp_path / one).iterdir() if "-" in x.name)
             for one in ("theirs", "ours")]  # fmt: skip
    assert steps[0] == steps[1]
    assert ours.evaluate()["eval_loss"] == pytest.approx(min(x["eval_loss"] for x in logs[1]), abs=1e-6)


SCHEDULES = [
    ("linear", {}), ("cosine", {}), ("cosine", {"num_cycles": 1.5}), ("constant", {}), ("constant_with_warmup", {}),
    ("cosine_with_restarts", {"num_cycles": 3}), ("polynomial", {}), ("polynomial", {"power": 2.0, "lr_end": 1e-3}),
    ("inverse_sqrt", {}), ("inverse_sqrt", {"timescale": 50}), ("cosine_with_min_lr", {"min_lr": 1e-3}),
    ("cosine_with_min_lr", {"min_lr_rate": 0.2}),
]  # fmt: skip


@pytest.mark.parametrize(("warmup", "steps"), [(0, 10), (3, 40), (17, 333)])
@pytest.mark.parametrize(("kind", "options"), SCHEDULES, ids=str)
def test_every_schedule_has_their_values(kind, options, warmup, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.02)
    theirs = transformers.get_scheduler(
        kind,
        optimizer,
        num_warmup_steps=warmup,
        num_training_steps=steps,
        scheduler_specific_kwargs=dict(options),
    )
    ours = schedule(kind, steps, 0.02, warmup, options)
    for step in range(steps + 1):
        assert ours(step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9, abs=1e-12), step
        optimizer.step()
        theirs.step()


HEADS = [
    ("BertForSequenceClassification", "BertConfig", BERT), ("RobertaForMaskedLM", "RobertaConfig", BERT),
    ("LlamaForCausalLM", "LlamaConfig", LLAMA), ("Qwen3ForCausalLM", "Qwen3Config", LLAMA),
    ("GPT2LMHeadModel", "GPT2Config", {"vocab_size": V, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}),
    ("T5ForConditionalGeneration", "T5Config", {"vocab_size": V, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1,
                                                "num_heads": 2}),
    ("BartForConditionalGeneration", "BartConfig", {"vocab_size": V, "d_model": 16, "encoder_layers": 1,
     "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 24,
     "decoder_ffn_dim": 24, "max_position_embeddings": 16}),
]  # fmt: skip


@pytest.mark.parametrize(("head", "config", "sizes"), HEADS, ids=[head for head, _, _ in HEADS])
def test_the_same_weights_decay(tmp_path, head, config, sizes):
    model = fold(tmp_path, getattr(transformers, head), getattr(transformers, config)(**sizes))
    theirs = set(transformers.Trainer.get_decay_parameter_names(None, model))
    trained = {name for name, _ in model.named_parameters()}
    ours = load_model(tmp_path / "model")
    names, decays = their_names(ours), {}
    for group in decay_groups(ours, 0.5):
        decays |= {id(parameter): group["weight_decay"] for parameter in group["params"]}
    compared = 0
    for name, parameter in ours.named_parameters():
        if names[name] in trained:  # not a matrix that is the embedding table
            assert decays[id(parameter)] == (0.5 if names[name] in theirs else 0.0), name
            compared += 1
    assert compared >= 8


def equal_batches(ours, theirs):
    assert ours.keys() == dict(theirs).keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
        assert ours[name].dtype == tensor.dtype


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    "options", [{}, {"pad_to_multiple_of": 8}, {"padding": "max_length", "max_length": 20}], ids=str
)
def test_collators_give_their_batches(options, side):
    peer = tokenizer()
    peer.padding_side = side
    rng = np.random.default_rng(0)
    ids = [rng.integers(5, V, size).tolist() for size in (4, 9, 6)]
    plain = [
        {"input_ids": row, "attention_mask": [1] * len(row), "token_type_ids": [0] * len(row)} for row in ids
    ]
    labels = {
        "DataCollatorWithPadding": [{"label": 1}, {"label": 0}, {"label": 1}],
        "DataCollatorForTokenClassification": [{"labels": row} for row in ids],
        "DataCollatorForSeq2Seq": [{"labels": row[:size]} for row, size in zip(ids, (2, 3, 5))],
    }
    kinds = {"DataCollatorWithPadding": DataCollatorWithPadding, "DataCollatorForSeq2Seq": DataCollatorForSeq2Seq,
             "DataCollatorForTokenClassification": DataCollatorForTokenClassification}  # fmt: skip
    for name, kind in kinds.items():
        if name == "DataCollatorForTokenClassification" and options.get("padding") == "max_length":
            continue
        rows = [one | label for one, label in zip(plain, labels[name])]
        equal_batches(kind(peer, **options)(rows), getattr(transformers, name)(peer, **options)(rows))
    if not options.get("padding"):
        theirs = transformers.DataCollatorForLanguageModeling(peer, mlm=False, **options)(plain)
        equal_batches(DataCollatorForLanguageModeling(peer, mlm=False, **options)(plain), theirs)


def test_real_labels_of_regression_and_of_several_classes():
    peer = tokenizer()
    for labels in ([0.5, 1.5], [[1.0, 0.0], [0.0, 1.0]]):
        rows = [{"input_ids": [5, 6, 7][: 2 + n], "label": label} for n, label in enumerate(labels)]
        equal_batches(DataCollatorWithPadding(peer)(rows), transformers.DataCollatorWithPadding(peer)(rows))


def test_masks_have_the_peers_shares():
    """64,000 tokens each: apart by no more than chance (five standard deviations of a difference)."""
    rng = np.random.default_rng(0)
    rows = [{"input_ids": [2, *rng.integers(5, V, 126).tolist(), 3]} for _ in range(500)]
    torch.manual_seed(0)
    counts = []
    for collate in (
        DataCollatorForLanguageModeling(Padding()),
        transformers.DataCollatorForLanguageModeling(tokenizer()),
    ):
        batch = collate(rows)
        chosen, ids = batch["labels"] != -100, torch.tensor([row["input_ids"] for row in rows])
        assert torch.equal(ids[chosen], batch["labels"][chosen])
        assert not chosen[:, [0, -1]].any()
        masked, kept = batch["input_ids"] == 4, chosen & (batch["input_ids"] == ids)
        counts.append([int(x.sum()) for x in (chosen, masked, kept)])
    for a, b in zip(*counts):
        assert abs(a - b) <= 5 * np.sqrt(2 * max(a, b))
        assert b > 500


OURS = {"device", "context_length", "eval_batches", "group_by_length", "warmup_ratio", "save_strategy"}


def test_names_and_defaults_are_theirs():
    theirs = {field.name: field for field in dataclasses.fields(transformers.TrainingArguments)}
    fields = dataclasses.fields(TrainingArguments)
    for field in fields:
        if field.name in OURS:
            continue
        other = theirs[field.name].default
        value = getattr(TrainingArguments(), field.name)
        assert value == other or (not value and not other), field.name
    assert len(fields) > 40


@pytest.mark.parametrize("steps", [1, 10, 333])
@pytest.mark.parametrize(
    "warmup", [{"warmup_steps": 3}, {"warmup_steps": 0.1}, {"warmup_ratio": 0.25}, {}], ids=str
)
def test_warm_up_is_counted_as_theirs(steps, warmup):
    older = {"warmup_steps": warmup["warmup_ratio"]} if "warmup_ratio" in warmup else warmup  # its newer name
    expected = transformers.TrainingArguments("out", **older).get_warmup_steps(steps)
    assert TrainingArguments(**warmup).get_warmup_steps(steps) == expected
