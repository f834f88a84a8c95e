"""Fine-tuning on pairs: what is learned and what is not, by both encoders, and that nothing else changes."""

from contextlib import suppress
from functools import partial

import numpy as np
import pytest
import torch

from minillm.search import (
    EmbeddingSimilarityEvaluator,
    SentenceEncoder,
    StaticEncoder,
    fine_tune,
    mnr_loss,
    open_encoder,
    triplet_loss,
)
from minillm.search.fine_tuning import usual_arguments
from minillm.search.pair_training import PairObjective, PairRows, collate
from minillm.search.pairs import Pair, read_either
from minillm.search.trainable import freeze_all_but, trainable, usual_prompts
from minillm.tokenizer import BPETokenizer
from minillm.training import EarlyStoppingCallback, PrinterCallback, TrainerCallback, TrainingArguments
from tests.search.test_sentence_encoder import tiny, tokenizer

__all__ = ["tokenizer"]  # the fixture, which pytest finds by its name
PAIRS = [("cat", "고양이"), ("dog", "dogs ."), ("runs", "sleeps"), ("the", "a"), ("cats dogs", "🚀 runs")]
PAIRS.append(("query", "."))
PROMPTS = {"query": "query: ", "passage": "passage: "}
QUICK = {"num_train_epochs": 20, "per_device_train_batch_size": 3, "learning_rate": 3e-3, "device": "cpu"}
QUICK["logging_steps"] = 10


@pytest.fixture
def encoder(tokenizer):
    return SentenceEncoder(tiny(), tokenizer, prompts=PROMPTS)


@pytest.fixture
def static():
    bpe = BPETokenizer.train([" ".join(f" {a} {b}" for a, b in PAIRS)], 300, special_tokens=())
    table = np.random.default_rng(0).normal(size=(bpe.vocab_size, 12)).astype(np.float32)
    return StaticEncoder(bpe, table)


def firsts(encoder):
    """How many anchors have their positive nearest."""
    encode = [getattr(encoder, name, encoder.encode) for name in ("encode_query", "encode_document")]
    u, v = (one(list(texts)) for one, texts in zip(encode, zip(*PAIRS)))
    return int((np.argmax(u @ v.T, axis=1) == np.arange(len(PAIRS))).sum())


@pytest.mark.parametrize("pieces", [None, 2])
def test_a_transformer_learns_which_texts_belong_together(encoder, pieces):
    before = firsts(encoder)
    args = TrainingArguments(**QUICK | {"max_steps": 60, "per_device_train_batch_size": 6})
    history = fine_tune(encoder, PAIRS, args, pieces=pieces)
    assert history.global_step == 60
    assert history[-1]["train_loss"] < 0.2
    assert firsts(encoder) == len(PAIRS) > before + 2


def test_a_table_of_tokens_learns_too_and_is_saved_as_it_is(static, tmp_path):
    before, start = firsts(static), static.embeddings.copy()
    fine_tune(static, PAIRS, TrainingArguments(**QUICK | {"learning_rate": 0.05}))
    assert firsts(static) == len(PAIRS) > before
    assert np.abs(static.embeddings - start).max() > 0.1
    again = open_encoder(static.save_pretrained(tmp_path / "static"))
    assert isinstance(again, StaticEncoder)
    np.testing.assert_array_equal(again.encode(["cat dog"]), static.encode(["cat dog"]))


def test_a_table_gives_the_means_that_it_encodes(static):
    texts = ["cat dog", "", "the runs the"]
    part = trainable(static)
    batch = collate(
        PairRows(part, [Pair("cat dog", ""), Pair("the runs the", "cat")], ("", ""))[:], part.pad_id
    )
    found = part.embed(part.module, batch["documents"], batch["documents_mask"])
    np.testing.assert_allclose(found.detach(), static.encode(["", "cat"], normalize=False), atol=1e-6)
    found = part.embed(part.module, batch["anchors"], batch["anchors_mask"])
    np.testing.assert_allclose(found.detach(), static.encode(texts[::2], normalize=False), atol=1e-6)


def test_a_fine_tuned_encoder_is_saved_whole_and_has_lost_its_name(encoder, tmp_path):
    encoder.name = "e5"
    with pytest.raises(ValueError, match="pairs must be at least 1, got 0"):
        usual_arguments(encoder, 0)
    fine_tune(encoder, PAIRS, usual_arguments(encoder, len(PAIRS), device="cpu"))
    assert encoder.name is None  # an index that keeps the name alone would find the old vectors' model
    again = open_encoder(encoder.save_pretrained(tmp_path / "tuned"))
    assert again.prompts == PROMPTS
    np.testing.assert_allclose(again.encode_query(["cat"]), encoder.encode_query(["cat"]), atol=1e-6)


def test_scores_are_learned(encoder):
    scored = [(a, b, number / 5) for number, (a, b) in enumerate(PAIRS)]
    evaluator = EmbeddingSimilarityEvaluator(*zip(*scored))
    fine_tune(encoder, scored, TrainingArguments(**QUICK | {"num_train_epochs": 60}))
    assert evaluator(encoder)["spearman_cosine"] > 0.9
    found = [float(encoder.encode([a])[0] @ encoder.encode([b])[0]) for a, b, _ in scored]
    np.testing.assert_allclose(found, [score for *_, score in scored], atol=0.15)


def test_only_the_last_layers_or_the_named_ones_change(encoder):
    before = {name: one.clone() for name, one in encoder.model.state_dict().items()}
    encoder.model.norm.weight.requires_grad_(False)
    for only, prefix in ((1, "blocks.1."), (["blocks.0.attention."], "blocks.0.attention.")):
        fine_tune(encoder, PAIRS, TrainingArguments(**QUICK | {"max_steps": 2}), only=only)
        changed = {
            name for name, one in encoder.model.state_dict().items() if not torch.equal(one, before[name])
        }
        assert changed
        assert all(name.startswith(prefix) for name in changed)
        before = {name: one.clone() for name, one in encoder.model.state_dict().items()}
        # thawed again, and what was frozen before is so still
        frozen = [name for name, one in encoder.model.named_parameters() if not one.requires_grad]
        assert frozen == ["norm.weight"]


def test_a_layer_below_the_trained_ones_has_no_graph(encoder):
    part = trainable(encoder)
    freeze_all_but(part.module, 1)
    rows = PairRows(part, read_either(PAIRS)[0], ("", ""))
    seen = []
    encoder.model.blocks[0].register_forward_hook(lambda module, given, out: seen.append(out.requires_grad))
    encoder.model.blocks[1].register_forward_hook(lambda module, given, out: seen.append(out.requires_grad))
    PairObjective(part.embed, mnr_loss)(encoder.model, collate(rows[:3], 0))
    assert seen == [False, True, False, True]


def test_a_batch_holds_prompts_ids_masks_and_all_negatives(encoder, tokenizer):
    part = trainable(encoder)
    pairs = [Pair("cat", "dog", ("a", "the runs")), Pair("dogs", "cats")]
    rows = PairRows(part, pairs, usual_prompts(encoder, scored=False))
    batch = collate(rows[:], tokenizer.pad_token_id)
    texts = ["passage: dog", "passage: cats", "passage: a", "passage: the runs"]
    expected = tokenizer(texts, padding=True, return_tensors="pt")
    torch.testing.assert_close(batch["documents"], expected["input_ids"])
    torch.testing.assert_close(batch["documents_mask"], expected["attention_mask"])
    torch.testing.assert_close(
        batch["anchors"],
        tokenizer(["query: cat", "query: dogs"], padding=True, return_tensors="pt")["input_ids"],
    )
    objective = PairObjective(part.embed, mnr_loss)
    with torch.no_grad():
        u, v = (
            encoder.encode_query(["cat", "dogs"]),
            encoder.encode_document(["dog", "cats", "a", "the runs"]),
        )
        loss = mnr_loss(torch.tensor(u), torch.tensor(v[:2]), torch.tensor(v[2:]))
        torch.testing.assert_close(objective(encoder.model, batch).loss, loss, atol=1e-5, rtol=1e-5)
        found = objective(encoder.model, batch, predict=True).predictions
    np.testing.assert_allclose(found, (u * v[:2]).sum(1), atol=1e-5)


def test_a_piece_is_as_wide_as_its_longest_text_and_the_loss_is_that_of_the_whole(encoder):
    part = trainable(encoder)
    pairs = [Pair("cat", "dog"), Pair("the cat runs the dog sleeps", "dogs"), Pair("runs", "a")]
    rows = PairRows(part, pairs, ("", ""))
    batch, seen = collate(rows[:], part.pad_id), []
    encoder.model.register_forward_pre_hook(lambda module, given: seen.append(tuple(given[0].shape)))
    whole = PairObjective(part.embed, mnr_loss)(encoder.model, batch).loss
    pieces = PairObjective(part.embed, mnr_loss, pieces=1)(encoder.model, batch).loss
    torch.testing.assert_close(pieces, whole.detach(), atol=1e-5, rtol=1e-5)
    texts = [text for column in zip(*((one.anchor, one.positive) for one in pairs)) for text in column]
    assert seen[2:] == [(1, len(ids)) for ids in part.tokens(texts)]
    assert len({width for _, width in seen[2:]}) > 1


def test_no_text_stands_twice_in_a_batch_and_every_epoch_is_another(static):
    pairs = [(f"cat {'a' * i}", "Dog" if i % 2 else " dog ") for i in range(12)]
    rows = PairRows(trainable(static), read_either(pairs)[0], ("", ""))
    batches = rows.epoch_batches(4, seed=0, epoch=0)
    assert [len(one) for one in batches] == [1, 1, 1]  # one answer, so one row a batch
    assert rows.epoch_batches(4, seed=0, epoch=0) == batches != rows.epoch_batches(4, seed=0, epoch=1)


def test_the_loss_may_be_another(encoder):
    triples = [(a, b, PAIRS[i - 1][1]) for i, (a, b) in enumerate(PAIRS)]
    loss = partial(triplet_loss, margin=0.5, distance="cosine")
    history = fine_tune(encoder, triples, TrainingArguments(**QUICK | {"max_steps": 80}), loss)
    assert history[-1]["train_loss"] < 0.05
    objective = PairObjective(None, partial(mnr_loss, scale=50))
    told = {"loss": "mnr_loss", "settings": "[('scale', 50)]", "prompts": ["", ""]}
    assert objective.what_decides_the_weights() == told


class StopAt(TrainerCallback):
    """Ctrl-C after a step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **parts):
        if state.global_step >= self.step:
            raise KeyboardInterrupt


def test_a_run_that_is_resumed_ends_with_the_same_bits(tokenizer, tmp_path):
    def run(steps, folder, resume=None):
        encoder = SentenceEncoder(tiny(hidden_dropout_prob=0.2), tokenizer)
        args = TrainingArguments(folder, **QUICK | {"max_steps": 6, "save_steps": 3})
        stop = [StopAt(steps)]
        with suppress(KeyboardInterrupt):
            fine_tune(encoder, PAIRS, args, callbacks=stop, pieces=2, resume_from_checkpoint=resume)
        return encoder.model.state_dict()

    whole = run(9, tmp_path / "whole")
    run(5, tmp_path / "cut")
    again = run(9, tmp_path / "cut", resume=tmp_path / "cut" / "checkpoint-3")
    for name, one in whole.items():
        torch.testing.assert_close(again[name], one, rtol=0, atol=0)


def test_one_pair_with_a_wrong_answer_of_its_own_is_enough(encoder):
    args = TrainingArguments(**QUICK | {"max_steps": 40})
    history = fine_tune(encoder, [("cat", "고양이", "dog")], args)
    assert history[-1]["train_loss"] < 0.1


def test_held_out_pairs_are_evaluated_and_end_the_run(encoder, capsys):
    args = TrainingArguments(**QUICK | {"eval_strategy": "epoch", "metric_for_best_model": "loss"})
    stop = EarlyStoppingCallback(early_stopping_threshold=9.0)  # nothing is ever so much better
    history = fine_tune(encoder, PAIRS, args, eval_pairs=PAIRS[:3], callbacks=[stop])
    assert history.global_step == 2 * 2  # the first is the best so far, the second is not better
    assert 0 < history[-1]["eval_loss"] < 5
    assert capsys.readouterr().out == ""
    fine_tune(encoder, PAIRS, TrainingArguments(**QUICK | {"max_steps": 1}), callbacks=[PrinterCallback])
    assert "train_loss" in capsys.readouterr().out


def test_ctrl_c_ends_with_the_encoder_in_one_piece(encoder):
    encoder.name = "e5"
    with pytest.raises(KeyboardInterrupt):
        fine_tune(encoder, PAIRS, TrainingArguments(**QUICK), only=1, callbacks=[StopAt(1)])
    assert encoder.name is None  # a step was made
    assert all(one.requires_grad for one in encoder.model.parameters())
    assert np.isfinite(encoder.encode(["cat"])).all()


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        (5, {}, "pairs must be a list of pairs, got 5"),
        ([], {}, "at least one pair"),
        (PAIRS[:1], {}, "must have wrong answers, .* got 1 in batches of 32 without any"),
        (PAIRS, {"args": TrainingArguments(per_device_train_batch_size=1)}, "must have wrong answers"),
        ([(one, "dog") for one, _ in PAIRS], {"loss": partial(mnr_loss, scale=3)}, "must have wrong answers"),
        (PAIRS, {"loss": triplet_loss}, "negatives must be a float tensor .* got None"),
        (PAIRS, {"loss": lambda u, v, n: mnr_loss(u, v) * float("nan")}, "training stopped at step 1"),
        ([*PAIRS, ("a",)], {}, r"pairs\[6\] must be"),
        ([("a", "b", 2.0)], {}, "the score of pairs.0. must be between -1 and 1"),
        ([("a", "b", 0.5), ("a", "b")], {}, r"pairs\[1\] must be .text, text, score."),
        (PAIRS, {"eval_pairs": [("a", "b", 0.5)]}, "must both have scores"),
        (PAIRS, {"args": 5}, "args must be TrainingArguments"),
        (PAIRS, {"args": TrainingArguments(eval_strategy="epoch")}, "needs an eval_dataset"),
        (PAIRS, {"args": TrainingArguments(group_by_length=True)}, "train_sampling_strategy must be random"),
        (PAIRS, {"loss": "mnr"}, "loss must be a function"),
        (PAIRS, {"only": 3}, "only must be at most the model's 2 layers"),
        (PAIRS, {"only": ["head"]}, "only must begin names of parameters"),
        (PAIRS, {"only": "blocks"}, "only must be a number of layers or a list of names"),
        (PAIRS, {"pieces": 0}, "pieces must be at least 1"),
        (PAIRS, {"prompts": "query: "}, "prompts must be two str"),
        (PAIRS, {"callbacks": [5]}, "a callback must be like"),
        (PAIRS, {"resume_from_checkpoint": "no/such/checkpoint"}, "no/such/checkpoint"),
        (PAIRS, {"callbacks": 5}, "callbacks must be a list of callbacks, got 5"),
    ],
)
def test_what_is_refused_leaves_the_encoder_as_it_was(encoder, pairs, options, message):
    encoder.name = "e5"
    before = {name: one.clone() for name, one in encoder.model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        fine_tune(encoder, pairs, **options)
    assert encoder.name == "e5"
    assert all(torch.equal(one, before[name]) for name, one in encoder.model.state_dict().items())
    assert all(one.requires_grad for one in encoder.model.parameters())


def test_a_loss_that_is_no_scalar_is_named(encoder):
    for loss in (lambda u, v, n: u.sum(1), lambda u, v, n: 1.0):
        for pieces in (None, 2):
            with pytest.raises(ValueError, match="loss must give a scalar tensor"):
                fine_tune(encoder, PAIRS, loss=loss, pieces=pieces)


def test_what_is_no_encoder_is_refused():
    with pytest.raises(ValueError, match="encoder must be a SentenceEncoder or a StaticEncoder, got 5"):
        fine_tune(5, PAIRS)
