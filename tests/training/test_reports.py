"""What a Trainer saves, prints and uploads: folders that transformers opens, files of figures, the hub."""

import json

import pytest
import torch

from minillm._files import BadFileError
from minillm.models import load_model
from minillm.tokenizer import WordPieceTokenizer, load_tokenizer
from minillm.training import PrinterCallback, Trainer, TrainerState, TrainingArguments, latest_checkpoint
from tests.data.conftest import hub  # noqa: F401
from tests.training.classifier import classes, classifier_run
from tests.training.test_trainer import same, trainer

WORDS = WordPieceTokenizer.train(["a good film", "a bad film", "a fog"], vocab_size=31)


def words_run(folder, **settings):
    run = classifier_run(folder, max_steps=3, **settings)
    run.tokenizer = WORDS
    return run


def test_the_log_is_printed_as_by_transformers(capsys):
    run = classifier_run(eval_rows=classes(5), num_train_epochs=1, logging_steps=3, eval_strategy="epoch")
    run.train()
    lines = [json.loads(line.replace("'", '"')) for line in capsys.readouterr().out.splitlines()]
    assert [sorted(line) for line in lines] == [
        ["epoch", "grad_norm", "learning_rate", "loss"], ["epoch", "grad_norm", "learning_rate", "loss"],
        ["epoch", "eval_accuracy", "eval_loss"], ["epoch", "train_loss"],
    ]  # fmt: skip
    first = run.state.log_history[0]
    assert float(lines[0]["loss"]) == pytest.approx(first["loss"], rel=1e-3)
    assert lines[0]["epoch"] == "0.5"


def test_who_wants_silence_has_it(capsys):
    quiet = classifier_run(max_steps=2, logging_steps=1)
    quiet.remove_callback(PrinterCallback)
    quiet.train()
    classifier_run(max_steps=2, logging_strategy="no").train()
    trainer(max_steps=2).train()  # the short form
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("'")[1] for line in lines] == ["train_loss"]
    given = PrinterCallback()
    run = classifier_run(callbacks=[given])
    assert run.pop_callback(PrinterCallback) is given
    assert run.pop_callback(PrinterCallback) is None


def test_train_gives_the_names_of_train_output(capsys, tmp_path):
    run = classifier_run(tmp_path, num_train_epochs=2, logging_steps=1)
    found = run.train()
    assert found is run.history
    assert found.global_step == 12
    assert found.training_loss == pytest.approx(sum(one["train_loss"] for one in found) / 12)
    assert found.metrics["epoch"] == 2.0
    assert found.metrics["train_steps_per_second"] == pytest.approx(12 / found.metrics["train_runtime"])
    capsys.readouterr()
    run.log_metrics("train", {"train_loss": 0.25, "epoch": 2.0, "train_samples": 45})
    assert capsys.readouterr().out.splitlines() == [
        "***** train metrics *****", "  epoch         = 2.0000", "  train_loss    = 0.2500", "  train_samples = 45",
    ]  # fmt: skip
    run.save_metrics("train", {"train_loss": 0.5})
    run.save_metrics("eval", {"eval_loss": 0.75})
    run.save_metrics("test", {"test_loss": 1.0}, combined=False)
    read = {path.name: json.loads(path.read_text()) for path in tmp_path.glob("*_results.json")}
    assert read["all_results.json"] == {"train_loss": 0.5, "eval_loss": 0.75}
    assert read["test_results.json"] == {"test_loss": 1.0}


def test_the_state_is_a_file_that_transformers_reads(tmp_path):
    transformers = pytest.importorskip("transformers", reason="the peer: pip install -e '.[parity]'")
    run = classifier_run(tmp_path, max_steps=4, logging_steps=2)
    run.train()
    run.save_state()
    for file in (tmp_path / "trainer_state.json", latest_checkpoint(tmp_path) / "trainer_state.json"):
        theirs, ours = transformers.TrainerState.load_from_json(str(file)), TrainerState.load_from_json(file)
        assert theirs.global_step == ours.global_step == 4
        assert theirs.log_history[:2] == ours.log_history[:2] == run.state.log_history[:2]
    (tmp_path / "list.json").write_text("[3]")
    for name in ("nowhere.json", "list.json"):
        with pytest.raises(BadFileError, match="trainer state"):
            TrainerState.load_from_json(tmp_path / name)


def test_transformers_opens_the_saved_model_and_the_checkpoints(tmp_path):
    transformers = pytest.importorskip("transformers", reason="the peer: pip install -e '.[parity]'")
    run = words_run(tmp_path)
    run.train()
    ids = WORDS(["a good film"], return_tensors="pt")
    with torch.no_grad():
        expected = run.model.eval()(**ids).logits
        for folder in (run.save_model(tmp_path / "model"), tmp_path / "checkpoint-3"):
            theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
            words = transformers.AutoTokenizer.from_pretrained(folder)
            found = words(["a good film"], return_tensors="pt")
            assert found["input_ids"].tolist() == ids["input_ids"].tolist()
            torch.testing.assert_close(theirs(**found).logits, expected, rtol=1e-4, atol=1e-6)
            assert words.pad_token_id == WORDS.pad_token_id
    assert same(load_model(tmp_path / "model"), run.model)


def test_a_tokenizer_of_transformers_is_saved_too(tmp_path):
    class Theirs:
        def save_pretrained(self, folder):
            (folder / "theirs.json").write_text("{}")

    run = Trainer(classifier_run().model, TrainingArguments(tmp_path), processing_class=Theirs())
    assert (run.save_model() / "theirs.json").exists()


def test_push_to_hub_uploads_model_and_tokenizer_as_one_commit(hub, tmp_path):  # noqa: F811
    run = words_run(tmp_path / "run", hub_model_id="me/classifier", hub_private_repo=True)
    run.train()
    assert run.push_to_hub(token="write") == f"{hub.url}/me/classifier"
    assert hub.messages == ["End of training"]
    assert hub.repositories["model", "me/classifier"].private
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(hub.files("me/classifier"))
    assert same(load_model("me/classifier", token="write"), run.model)
    assert load_tokenizer("me/classifier", token="write").encode("good") == WORDS.encode("good")
    with pytest.raises(ValueError, match=r"push_to_hub needs .*hub_model_id"):
        classifier_run().push_to_hub(token="write")
    saved = (tmp_path / "run" / "checkpoint-3" / "training.state").read_bytes()
    assert b"me/classifier" not in saved  # a run that is resumed may be uploaded elsewhere
