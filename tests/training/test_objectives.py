"""What each objective shows to the model, asks of it, and counts; by hand on logits that are known."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from minillm.training import ClassificationObjective, MaskedLMObjective, Seq2SeqObjective, shift_right
from tests.training.test_cross_entropy import Echo

GENERATOR = torch.Generator().manual_seed(0)


class Answers:
    """A model that gives the same logits whatever it reads, and remembers what that was."""

    def __init__(self, logits, **config):
        self.logits, self.config = logits, SimpleNamespace(**config)

    def __call__(self, **inputs):
        self.seen = inputs
        return SimpleNamespace(logits=self.logits)


def test_masked_labels_stand_where_their_ids_stood():
    rows = torch.randn(3, 7, generator=GENERATOR)
    batch = {"input_ids": torch.tensor([[5, 3, 6]]), "labels": torch.tensor([[-100, 1, 6]])}
    objective = MaskedLMObjective()
    found = objective(Echo(rows), batch)
    torch.testing.assert_close(found.loss, -(rows[1].log_softmax(0)[1] + rows[2].log_softmax(0)[6]) / 2)
    assert objective.count(batch) == 2
    assert found.predictions.shape == (1, 3, 7)
    assert torch.equal(found.labels, batch["labels"])


def test_only_what_a_model_reads_is_shown_to_it():
    model = Answers(torch.zeros(1, 2, 7))
    names = ("input_ids", "labels", "attention_mask", "token_type_ids", "position_ids", "row")
    batch = {name: torch.zeros(1, 2, dtype=torch.int64) for name in names}
    MaskedLMObjective()(model, batch)
    assert model.seen.keys() == {"input_ids", "attention_mask", "token_type_ids", "position_ids"}


def test_a_decoder_reads_its_labels_one_place_later():
    logits = torch.randn(1, 4, 7, generator=GENERATOR)
    model = Answers(logits, decoder_start_token_id=2, pad_token_id=0)
    batch = {"input_ids": torch.tensor([[5, 3]]), "labels": torch.tensor([[4, 6, -100, 1]]),
             "attention_mask": torch.ones(1, 2), "decoder_attention_mask": torch.ones(1, 4)}  # fmt: skip
    objective = Seq2SeqObjective()
    loss = objective(model, batch).loss
    assert model.seen["decoder_input_ids"].tolist() == [[2, 4, 6, 0]]
    assert model.seen.keys() == {"input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask"}
    by_hand = -sum(logits[0, t].log_softmax(0)[label] for t, label in ((0, 4), (1, 6), (3, 1))) / 3
    torch.testing.assert_close(loss, by_hand)
    assert objective.count(batch) == 3
    batch["decoder_input_ids"] = torch.tensor([[1, 1, 1, 1]])
    objective(model, batch)
    assert model.seen["decoder_input_ids"].tolist() == [[1, 1, 1, 1]]


def test_shift_right():
    assert shift_right(torch.tensor([[7, 8, 9, -100], [5, -100, -100, 4]]), 2, 0).tolist() == [
        [2, 7, 8, 9],
        [2, 5, 0, 0],
    ]
    assert shift_right(torch.tensor([[7]]), 2, 0).tolist() == [[2]]
    for labels, start in (([[7]], 2), (torch.ones(1, 2), 2), (torch.ones(2).long(), 2), (torch.ones(1, 2).long(), 1.5),
                          (torch.ones(1, 0).long(), 2)):  # fmt: skip
        with pytest.raises(ValueError, match="must be"):
            shift_right(labels, start, 0)


@pytest.mark.parametrize("objective", [MaskedLMObjective, Seq2SeqObjective])
def test_smoothing_is_torchs(objective):
    logits = torch.randn(2, 3, 7, generator=GENERATOR)
    labels = torch.tensor([[1, -100, 2], [3, 4, -100]])
    model = Answers(logits, decoder_start_token_id=2, pad_token_id=0)
    loss = objective(label_smoothing=0.1)(model, {"input_ids": labels.clamp(min=0), "labels": labels}).loss
    expected = F.cross_entropy(logits.view(-1, 7), labels.view(-1), label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)


def test_kinds_of_classification():
    logits = torch.randn(3, 4, generator=GENERATOR)
    ids = torch.zeros(3, 2, dtype=torch.int64)
    classes = torch.tensor([1, -100, 3])
    several = torch.tensor([[1.0, 0, 0, 1]] * 3)
    numbers = torch.tensor([0.5, 1.0, -2.0])

    def loss(objective, labels, logits=logits, **config):
        batch = {"input_ids": ids, "labels": labels}
        return objective(Answers(logits, **config), batch).loss, objective.count(batch)

    one = logits[:, :1]
    for labels, logits_, config, expected, count in (
        (classes, logits, {}, F.cross_entropy(logits, classes), 2),
        (several, logits, {}, F.binary_cross_entropy_with_logits(logits, several), 12),
        (numbers, one, {}, F.mse_loss(one[:, 0], numbers), 3),
        (numbers[:, None], one, {}, F.mse_loss(one[:, 0], numbers), 3),
        (several, logits, {"problem_type": "regression"}, F.mse_loss(logits, several), 12),
    ):
        found, targets = loss(ClassificationObjective(), labels, logits_, **config)
        torch.testing.assert_close(found, expected)
        assert targets == count
    found, targets = loss(ClassificationObjective("regression"), torch.tensor([1, 2, -100]), one)
    torch.testing.assert_close(found, F.mse_loss(one[:, 0], torch.tensor([1.0, 2.0, -100.0])))
    assert targets == 3
    found, _ = loss(ClassificationObjective(label_smoothing=0.2), classes)
    torch.testing.assert_close(found, F.cross_entropy(logits, classes, label_smoothing=0.2))


IDS = torch.zeros(2, 3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("call", "message"),
    [(lambda: MaskedLMObjective(label_smoothing=2), "label_smoothing must be between 0 and 1, got 2"),
     (lambda: MaskedLMObjective("x"), "ignore_index must be an integer, got 'x'"),
     (lambda: MaskedLMObjective().count({}), r"a batch needs labels \(B, L\) with L at least 1, got None"),
     (lambda: MaskedLMObjective()(Answers(torch.zeros(2, 2, 7)), {"input_ids": IDS, "labels": IDS}),
      r"labels must have the shape \(2, 2\) of the model's logits"),
     (lambda: Seq2SeqObjective()(Answers(None), {"input_ids": IDS, "labels": IDS}),
      "config must have a decoder_start_token_id and a pad_token_id"),
     (lambda: Seq2SeqObjective()(Answers(None, decoder_start_token_id=3, pad_token_id=None),
                                 {"input_ids": IDS, "labels": IDS}), "got 3 and None"),
     (lambda: ClassificationObjective("classes"), "problem_type must be one of None, 'regression', .* got 'classes'"),
     (lambda: ClassificationObjective().count({"labels": torch.zeros(1, 1, 1)}), r"labels \(B,\) or \(B, n\), got"),
     (lambda: ClassificationObjective()(Answers(torch.zeros(2, 4)), {"input_ids": IDS, "labels": IDS}),
      r"labels must have the shape \(2,\)"),
     (lambda: ClassificationObjective()(Answers(torch.zeros(2, 4)), {"input_ids": IDS, "labels": torch.zeros(2)}),
      r"labels for multi_label_classification must have the shape \(2, 4\)"),
     (lambda: ClassificationObjective(label_smoothing=0.1)(
         Answers(torch.zeros(2, 1)), {"input_ids": IDS, "labels": torch.zeros(2)}), "label_smoothing is for classes")],
)  # fmt: skip
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("objective", [MaskedLMObjective(), Seq2SeqObjective(), ClassificationObjective()])
def test_no_number_is_read_off_the_device(objective):
    """Tensors on "meta" have shapes and no numbers: whoever reads one raises."""
    shape = (2, 3, 7) if not isinstance(objective, ClassificationObjective) else (2, 7)
    model = Answers(torch.zeros(shape, device="meta"), decoder_start_token_id=1, pad_token_id=0)
    labels = torch.zeros(shape[:-1], dtype=torch.int64, device="meta")
    assert objective(model, {"input_ids": labels, "labels": labels}).loss.device.type == "meta"
