"""A step of training against sentence-transformers on the same folder: a batch's loss, and every weight's gradient.

The cached loss of both, too, and the steps of a whole run.
"""

import numpy as np
import pytest
import torch

from minillm.search import CrossEncoder, SentenceEncoder, fine_tune, mnr_loss
from minillm.search.cross_training import pair_rows
from minillm.search.pair_training import PairObjective, PairRows, collate
from minillm.search.pairs import ScoredPair, read_either
from minillm.search.trainable import trainable
from minillm.training import ClassificationObjective, DataCollatorWithPadding, TrainingArguments
from tests.search.test_cross_encoder import tiny as tiny_classifier
from tests.search.test_cross_training import TRIPLES
from tests.search.test_sentence_encoder import tiny, tokenizer

library = pytest.importorskip("sentence_transformers", reason="held against sentence-transformers")
transformers = pytest.importorskip("transformers", reason="sentence-transformers opens models with it")
losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
cross_losses = pytest.importorskip("sentence_transformers.cross_encoder.losses")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

__all__ = ["tokenizer"]  # the fixture, which pytest finds by its name
CLOSE = {"rtol": 1e-5, "atol": 1e-6}  # two builds of the same layers, in float32
EXACT = {"rtol": 1e-8, "atol": 1e-10}  # in float64, where a processor's rounding is not seen


@pytest.fixture
def encoder(tokenizer):
    return SentenceEncoder(tiny(), tokenizer)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


def renamed(model, found):
    """Our gradients under transformers' names; zeros for what the loss does not reach (the pooler)."""
    every = {name: found.get(name, torch.zeros_like(one)) for name, one in model.named_parameters()}
    return model.to_hugging_face(every)


def assert_same(ours, theirs, close):
    assert len(theirs) > 20
    for name, one in theirs.items():
        (found,) = [value for key, value in ours.items() if name.endswith(key)]
        torch.testing.assert_close(found, one, **close, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("pieces", [None, 2])
def test_the_loss_of_a_batch_and_its_gradients(encoder, tmp_path, pieces):
    theirs = library.SentenceTransformer(str(encoder.save_pretrained(tmp_path)), device="cpu").double().eval()
    encoder.model.double()
    columns = [theirs.preprocess(list(texts)) for texts in zip(*TRIPLES)]
    if pieces is None:
        peer = losses.MultipleNegativesRankingLoss(theirs)
    else:
        peer = losses.CachedMultipleNegativesRankingLoss(theirs, mini_batch_size=pieces)
    loss = peer(columns, None)
    expected = gradients(theirs, loss)

    part = trainable(encoder)
    rows = PairRows(part, read_either(TRIPLES)[0], ("", ""))
    objective = PairObjective(part.embed, mnr_loss, pieces=pieces)
    found = objective(encoder.model, collate(rows[:], part.pad_id)).loss
    torch.testing.assert_close(found, loss.detach(), **EXACT)
    assert_same(renamed(encoder.model, gradients(encoder.model, found)), expected, EXACT)


def test_a_cross_encoders_loss_and_its_gradients(tokenizer, tmp_path):
    encoder = CrossEncoder(tiny_classifier(), tokenizer)
    pairs = [ScoredPair(a, b, label) for (a, b, n) in TRIPLES for b, label in ((b, 1.0), (n, 0.0))]
    pairs.append(ScoredPair("cat", "cats", 0.7))
    theirs = library.CrossEncoder(str(encoder.save_pretrained(tmp_path)), device="cpu").eval()
    texts, labels = (
        [list(one) for one in zip(*(one[:2] for one in pairs))],
        torch.tensor([p.score for p in pairs]),
    )
    loss = cross_losses.BinaryCrossEntropyLoss(theirs)(texts, labels)
    expected = gradients(theirs, loss)

    batch = DataCollatorWithPadding(tokenizer)(pair_rows(encoder, pairs))
    found = ClassificationObjective("multi_label_classification")(encoder.model, batch).loss
    torch.testing.assert_close(found, loss.detach(), **CLOSE)
    assert_same(renamed(encoder.model, gradients(encoder.model, found)), expected, CLOSE)


def test_a_whole_run_gives_the_same_weights(encoder, tmp_path):
    """Four epochs of one batch, AdamW and clipping of torch on the peer's loss."""
    theirs = library.SentenceTransformer(str(encoder.save_pretrained(tmp_path)), device="cpu")
    loss = losses.MultipleNegativesRankingLoss(theirs)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-3, weight_decay=0.0)
    columns = [theirs.preprocess(list(texts)) for texts in zip(*TRIPLES)]
    for _ in range(4):  # one batch an epoch: its rows may come in any order
        optimizer.zero_grad()
        loss(columns, None).backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
    args = TrainingArguments(
        num_train_epochs=4,
        per_device_train_batch_size=5,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        device="cpu",
    )
    history = fine_tune(encoder, TRIPLES, args)
    assert history.global_step == 4
    texts = [text for row in TRIPLES for text in row]
    np.testing.assert_allclose(encoder.encode(texts), theirs.eval().encode(texts), atol=2e-4)
