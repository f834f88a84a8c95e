"""A tiny classifier with dropout, texts of two kinds, and what a collator asks of a tokenizer."""

import numpy as np

from minillm.models import BERTForSequenceClassification
from minillm.training import DataCollatorWithPadding, Trainer, TrainingArguments

V = 31


class Padding:
    pad_token_id, padding_side, vocab_size = 0, "right", V
    special_tokens = {"[PAD]": 0, "[CLS]": 2, "[MASK]": 4}  # noqa: RUF012

    def save(self, folder):
        (folder / "tokenizer.json").write_text("{}")


def classes(count, seed=0):
    """Dicts of input_ids and labels; the second id says which of two kinds a text is."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        kind, ids = int(rng.integers(2)), rng.integers(5, V, int(rng.integers(3, 12)))
        ids[:2] = 2, 10 + kind
        rows.append({"input_ids": ids.tolist(), "labels": kind})
    return rows


def tiny_classifier(dropout=0.1, seed=0):
    config = BERTForSequenceClassification.config_class(
        vocab_size=V, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=16, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    return BERTForSequenceClassification(config, seed=seed)


def accuracy(prediction):
    predictions, labels = prediction
    return {"accuracy": (predictions.argmax(-1) == labels).mean()}


def classifier_run(output_dir=None, model=None, rows=None, eval_rows=None, callbacks=None, **settings):
    args = TrainingArguments(
        output_dir, **{"learning_rate": 1e-2, "disable_tqdm": True, "seed": 0, **settings}
    )
    return Trainer(
        model or tiny_classifier(), args, train_dataset=rows or classes(45), eval_dataset=eval_rows,
        data_collator=DataCollatorWithPadding(Padding()), compute_metrics=accuracy, callbacks=callbacks,
    )  # fmt: skip


def bits(run):
    """Everything that a resumed run must share with an unbroken one; times are not among it."""
    times = ("seconds", "tokens_per_second")
    return {
        "weights": {name: tensor.tolist() for name, tensor in run.model.state_dict().items()},
        "averages": [[one["step"], one["m"].tolist(), one["v"].tolist()] for one in run.optimizer.state.values()],
        "history": [{key: one[key] for key in one if key not in times} for one in run.history],
        "log": run.state.log_history,
        "best": (run.state.best_metric, run.state.best_global_step),
        "step": run.step,
        "callbacks": run.callbacks.saved(),
    }  # fmt: skip
