"""Objectives and noise against transformers: its models' losses, its collator's draws, its shift."""

import numpy as np
import pytest
import torch

from minillm.models import load_model
from minillm.training import (
    ClassificationObjective,
    MaskedLMNoise,
    MaskedLMObjective,
    NoisySet,
    Seq2SeqObjective,
    SpanCorruption,
    Trainer,
    TrainerConfig,
    shift_right,
)
from minillm.training.masking import place_masks

transformers = pytest.importorskip("transformers", reason="the peer of this file: pip install -e '.[parity]'")

TINY = {"vocab_size": 31, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 16}  # fmt: skip


def draw(*shape, high=31, seed=0):
    return torch.randint(5, high, shape, generator=torch.Generator().manual_seed(seed))


def bert(head, **settings):
    torch.manual_seed(0)
    return head(transformers.BertConfig(**TINY, **settings)).eval()


def gradients(loss, model):
    model.zero_grad()
    loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def equal(objective, model, batch):
    """Our objective on their model, and their loss on the same batch: the numbers and the gradients."""
    ours = objective(model, batch).loss
    theirs = model(**batch).loss
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
    for a, b in zip(gradients(ours, model), gradients(theirs, model)):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_masked_lm():
    ids, labels = draw(2, 7), draw(2, 7, seed=1)
    labels[:, ::2] = -100
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    types = torch.tensor([[0, 0, 0, 1, 1, 1, 1]] * 2)
    batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, "labels": labels}
    equal(MaskedLMObjective(), bert(transformers.BertForMaskedLM), batch)


def test_labels_of_tokens():
    labels = torch.tensor([[0, 1, 2, -100], [2, 2, -100, -100]])
    batch = {"input_ids": draw(2, 4), "labels": labels}
    equal(MaskedLMObjective(), bert(transformers.BertForTokenClassification, num_labels=3), batch)


@pytest.mark.parametrize(
    ("num_labels", "labels", "problem"),
    [(3, [2, 0], None), (3, [-100, 1], None), (1, [0.5, -1.0], None), (3, [[1.0, 0, 1], [0, 0, 1]], None),
     (3, [[1.0, 0, 1], [0, 0, 1]], "regression"), (2, [1, 0], "single_label_classification")],
)  # fmt: skip
def test_classification(num_labels, labels, problem):
    model = bert(transformers.BertForSequenceClassification, num_labels=num_labels, problem_type=problem)
    batch = {"input_ids": draw(2, 5), "labels": torch.tensor(labels)}
    equal(ClassificationObjective(), model, batch)
    equal(ClassificationObjective(model.config.problem_type), model, batch)


def tiny_t5():
    torch.manual_seed(0)
    config = transformers.T5Config(vocab_size=31, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2,
                                   decoder_start_token_id=0)  # fmt: skip
    return transformers.T5ForConditionalGeneration(config).eval()


def tiny_bart():
    torch.manual_seed(0)
    config = transformers.BartConfig(vocab_size=31, d_model=16, encoder_layers=1, decoder_layers=1,
                                     encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=24,
                                     decoder_ffn_dim=24, max_position_embeddings=16)  # fmt: skip
    return transformers.BartForConditionalGeneration(config).eval()


@pytest.mark.parametrize("make", [tiny_t5, tiny_bart])
def test_sequence_to_sequence(make):
    model = make()
    labels = draw(2, 5, seed=1)
    labels[1, 3:] = -100
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    batch = {"input_ids": draw(2, 7), "attention_mask": mask, "labels": labels}
    equal(Seq2SeqObjective(), model, batch)


def test_smoothing_as_in_their_trainer():
    from transformers.trainer_pt_utils import LabelSmoother

    model, labels = bert(transformers.BertForMaskedLM), draw(2, 7, seed=1)
    labels[0, 2:5] = -100
    batch = {"input_ids": draw(2, 7), "labels": labels}
    theirs = LabelSmoother(epsilon=0.1)({"logits": model(batch["input_ids"]).logits}, labels)
    ours = MaskedLMObjective(label_smoothing=0.1)(model, batch).loss
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_shift():
    from transformers.models.bart.modeling_bart import shift_tokens_right

    labels = draw(3, 6)
    labels[1, 2:] = -100
    assert torch.equal(shift_right(labels, 2, 1), shift_tokens_right(labels, 1, 2))


class Vocabulary:
    """What the peer's collator asks of a tokenizer: ids below 5 are special, 4 is the mask."""

    mask_token, mask_token_id, pad_token_id = "[MASK]", 4, 0
    is_fast = True

    def __len__(self):
        return 31

    def convert_tokens_to_ids(self, token):
        return self.mask_token_id

    def get_special_tokens_mask(self, ids, already_has_special_tokens=True):
        return [int(i < 5) for i in ids]


def test_masking_equals_the_collators_where_the_draws_are_the_same():
    ids = draw(8, 40, high=31)
    ids[:, 0], ids[:, -1] = 2, 3
    collator = transformers.DataCollatorForLanguageModeling(Vocabulary(), seed=3)
    collator.generator = torch.Generator().manual_seed(3)
    theirs = collator.torch_mask_tokens(ids.clone())
    generator = torch.Generator().manual_seed(3)  # the same draws, in the order the peer makes them

    def yes(probability):
        return torch.bernoulli(probability, generator=generator).bool()

    full = torch.ones(ids.shape)
    chosen = yes((0.15 * full).masked_fill(ids < 5, 0.0))
    masked, random = yes(0.8 * full), yes(0.5 * full)
    words = torch.randint(31, ids.shape, generator=generator)
    kind = np.where(masked, 0.0, np.where(random, 0.85, 0.95))
    ours = place_masks(ids.numpy(), chosen.numpy(), kind, words.numpy(), 4)
    assert (ours[1] != -100).sum() > 20
    for a, b in zip(ours, theirs):
        assert np.array_equal(a, b.numpy())


def test_masking_has_the_collators_distribution():
    """Four counts of 64,000 tokens each: apart by no more than chance (five standard deviations of a difference)."""
    ids = np.random.default_rng(0).integers(5, 31, 64_000)
    ids[::8] = 2
    collator = transformers.DataCollatorForLanguageModeling(Vocabulary(), seed=1)
    collator.generator = torch.Generator().manual_seed(1)
    theirs = [part.numpy()[0] for part in collator.torch_mask_tokens(torch.from_numpy(ids)[None].clone())]
    ours = MaskedLMNoise(4, 31, special_ids=range(5))(ids, np.random.default_rng(1))

    def counts(inputs, labels):
        chosen = labels != -100
        return [chosen.sum(), (inputs == 4).sum(), (chosen & (inputs == ids)).sum(),
                (chosen & (inputs != ids) & (inputs != 4)).sum()]  # fmt: skip

    for a, b in zip(counts(*ours), counts(*theirs)):
        assert abs(int(a) - int(b)) <= 5 * np.sqrt(2 * max(a, b))
        assert b > 500


def test_whole_words_are_chosen_as_the_collator_chooses_them():
    """The same first tokens hit: the same words."""
    rng = np.random.default_rng(0)
    starts = rng.random(400) < 0.5
    starts[0] = True
    ids = np.where(starts, 7, 8)
    ends = np.cumsum(np.where(starts, 2, 1))  # a space before each word
    offsets = np.stack([ends - 1, ends], axis=1)[None]
    collator = transformers.DataCollatorForLanguageModeling
    word_ids, _ = collator._calc_word_ids_and_prob_mask(offsets, np.zeros((1, 400), dtype=int))
    noise = MaskedLMNoise(4, 31, word_start_ids=[7])
    drawn = np.random.default_rng(5).random(400)
    hit = (drawn < 0.15) & starts
    theirs = collator._whole_word_mask(word_ids, hit[None])[0]

    class Drawn(np.random.Generator):
        def random(self, size):
            return drawn

        def integers(self, high, size):
            return np.zeros(size, dtype=int)

    fixed = Drawn(np.random.PCG64(0))
    assert 20 < theirs.sum() < 200
    assert np.array_equal(noise(ids, fixed)[1] != -100, theirs)


@pytest.mark.parametrize("make", [tiny_t5, tiny_bart])
def test_our_encoder_decoders_have_their_loss(make, tmp_path):
    """Our T5 and BART with our objective: the loss and the gradient of the table that is used everywhere."""
    theirs = make()
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    labels = draw(2, 5, seed=1)
    labels[1, 3:] = -100
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    batch = {"input_ids": draw(2, 7), "attention_mask": mask, "labels": labels}
    loss = Seq2SeqObjective()(ours, batch).loss
    expected = theirs(**batch).loss
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    expected.backward()
    table = theirs.get_input_embeddings().weight.grad
    torch.testing.assert_close(ours.body.tokens.weight.grad, table, rtol=1e-4, atol=1e-5)


def test_our_t5_learns_by_spans_in_the_trainer(tmp_path):
    """A run on damaged texts, stopped and resumed: the bits of one in one go."""
    tiny_t5().save_pretrained(tmp_path / "model")
    ids = torch.arange(400) % 11 + 5
    data = NoisySet(ids, SpanCorruption(range(30, 20, -1), eos_id=1))

    def run(folder, resume=False):
        config = TrainerConfig(6, batch_size=4, context_length=12, checkpoint_folder=folder, checkpoint_every=3,
                               keep_last=5, progress=False, precision="fp32", learning_rate=1e-2)  # fmt: skip
        trainer = Trainer(load_model(tmp_path / "model"), config, data, objective=Seq2SeqObjective())
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    whole = run(tmp_path / "whole")
    first = next(path for path in (tmp_path / "whole").iterdir() if path.name.endswith("3"))
    rest = run(tmp_path / "rest", resume=first)
    assert whole.history[-1]["train_loss"] < whole.history[0]["train_loss"]
    for a, b in zip(whole.model.parameters(), rest.model.parameters()):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["MaskedLM", "TokenClassification", "SequenceClassification"])
def test_our_encoders_have_their_loss(name, tmp_path):
    theirs = bert(getattr(transformers, f"BertFor{name}"))
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    types = torch.tensor([[0, 0, 0, 1, 1, 1, 1]] * 2)
    labels = {"MaskedLM": draw(2, 7, seed=1), "TokenClassification": draw(2, 7) % 2}.get(
        name, torch.tensor([1, 0])
    )
    batch = {"input_ids": draw(2, 7), "attention_mask": mask, "token_type_ids": types, "labels": labels}
    objective = ClassificationObjective() if labels.ndim == 1 else MaskedLMObjective()
    loss, expected = objective(ours, batch).loss, theirs(**batch).loss
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    expected.backward()
    table = theirs.get_input_embeddings().weight.grad
    torch.testing.assert_close(ours.body.tokens.weight.grad, table, rtol=1e-4, atol=1e-5)
