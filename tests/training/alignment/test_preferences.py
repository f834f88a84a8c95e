"""Pairs, reward models and DPO under the Trainer: what is learned, kept, resumed, refused."""

import json

import numpy as np
import pytest
import torch

from minillm.models import (
    BERT,
    GPT2,
    BERTConfig,
    GPT2Body,
    GPT2Config,
    Llama,
    LlamaBody,
    LlamaConfig,
    load_model,
)
from minillm.training import (
    DPOObjective,
    DPOTrainer,
    PreferenceSet,
    RewardModel,
    RewardObjective,
    Trainer,
    TrainerConfig,
    bradley_terry_loss,
    critic_of,
    dpo_loss,
    hinge_loss,
    ipo_loss,
    reward_report,
    sequence_logprobs,
)
from minillm.training.alignment.dpo import pair_figures
from minillm.training.alignment.own_rows import pair_margins
from minillm.training.alignment.pairs import pair_logprobs, preference_pair
from minillm.training.alignment.written import read_answers
from minillm.training.evaluate import EvalPrediction
from tests.training.alignment.test_packing import LLAMA

PAIR = {"prompt_ids": [1], "chosen_ids": [2], "rejected_ids": [3]}
GPT2_SIZES = {"vocab_size": 50, "n_positions": 64, "n_embd": 16, "n_layer": 1, "n_head": 2}


def pairs(count=24, seed=0, law=lambda ids: sum(ids)):
    """The better answer is the one with the higher ids."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        two = sorted(
            (rng.integers(0, 50, rng.integers(2, 5)).tolist() for _ in range(2)), key=lambda x: np.mean(x)
        )
        found.append(
            {"prompt_ids": rng.integers(0, 50, 3).tolist(), "chosen_ids": two[1], "rejected_ids": two[0]}
        )
    return found


def config(steps=4, **settings):
    usual = {
        "max_steps": steps,
        "batch_size": 8,
        "context_length": 16,
        "learning_rate": 3e-3,
        "progress": False,
    }
    return TrainerConfig(**usual | settings)


def test_batches_hold_each_pair_once_an_epoch_and_labels_in_answers_alone():
    data = PreferenceSet(pairs(10))
    seen = [
        tuple(row) for step in range(5) for row in data.batch(3, step, 2, 16)["chosen_input_ids"].tolist()
    ]
    trimmed = sorted(tuple(one["prompt_ids"] + one["chosen_ids"]) for one in pairs(10))
    assert sorted(tuple(row[: len(t)]) for row, t in zip(sorted(seen), trimmed)) == trimmed
    batch = data.rows(range(10))
    for side in ("chosen", "rejected"):
        labels, mask = batch[f"{side}_labels"], batch[f"{side}_attention_mask"]
        assert (labels[:, :3] == -100).all()
        assert (labels[mask == 0] == -100).all()
        assert ((labels != -100).sum(1) == mask.sum(1) - 3).all()
    assert sum(len(one["labels"]) for one in data.eval_batches(3, 16)) == 10
    assert sum(len(one["labels"]) for one in data.eval_batches(2, 16, limit=2)) == 4


def test_a_reward_is_read_at_the_last_real_token_whatever_the_padding():
    model = RewardModel(Llama(LlamaConfig(**LLAMA), seed=0))
    ids = torch.randint(0, 50, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(9) < torch.tensor([9, 4, 1])[:, None]).long()
    found = model(ids, mask)
    for row, length in enumerate((9, 4, 1)):
        torch.testing.assert_close(found[row], model(ids[row : row + 1, :length])[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(model.values(ids, mask)[row, length - 1], found[row], rtol=1e-5, atol=1e-6)
    asked = model.reward([[1, 2], [3]], [[4], [5, 6, 7]])
    assert asked == pytest.approx(
        [float(model(torch.tensor([x]))) for x in ([1, 2, 4], [3, 5, 6, 7])], abs=1e-5
    )


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_reward_model_is_saved_and_opened(tmp_path, kind):
    body = LlamaBody(LlamaConfig(**LLAMA)) if kind == "llama" else GPT2Body(GPT2Config(**GPT2_SIZES))
    model = RewardModel(body, seed=3).eval()
    model.save_pretrained(tmp_path)
    again, ids = RewardModel.from_pretrained(tmp_path).eval(), torch.arange(12).reshape(2, 6)
    torch.testing.assert_close(model(ids), again(ids), rtol=1e-6, atol=1e-6)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"][0].endswith(
        "ForSequenceClassification"
    )
    assert load_model(tmp_path).config.num_labels == 1
    torch.testing.assert_close(
        load_model(tmp_path).eval()(ids, torch.ones_like(ids)).logits[:, 0], model(ids)
    )


def test_training_a_reward_model_ranks_pairs_it_has_not_seen():
    model, held = RewardModel(Llama(LlamaConfig(**LLAMA), seed=0)), PreferenceSet(pairs(60, seed=1))
    before = reward_report(model, held)
    data = PreferenceSet(pairs(200))
    history = Trainer(model, config(60, learning_rate=1e-2), data, held, objective=RewardObjective()).train()
    after = reward_report(model, held)
    assert after.accuracy > 0.75 > before.accuracy
    assert after.interval[0] < after.accuracy < after.interval[1]
    assert 0 <= after.calibration_error < 0.35
    assert (after.pairs, str(after).count("n = 60")) == (60, 1)
    assert history[-1]["eval_loss"] < np.log(2)


def test_a_run_of_a_reward_model_resumes_bit_for_bit(tmp_path):
    def run(folder, checkpoint=None):
        settings = config(4, checkpoint_folder=folder, checkpoint_every=2, keep_last=5)
        model = RewardModel(Llama(LlamaConfig(**LLAMA), seed=0))
        Trainer(model, settings, PreferenceSet(pairs()), objective=RewardObjective()).train(checkpoint)
        return model.state_dict()

    whole = run(tmp_path / "one")
    again = run(tmp_path / "two", tmp_path / "one" / "checkpoint-2")
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())


def test_calibration_is_that_of_a_judge_who_says_what_he_knows():
    """Rewards by whose chances the labels were drawn; then the same, ten times as sure."""
    rng, data = np.random.default_rng(0), PreferenceSet(pairs(1500))
    rewards = rng.normal(0, 1.5, (1500, 2))
    right = rng.random(1500) < 1 / (1 + np.exp(rewards[:, 1] - rewards[:, 0]))
    ordered = torch.from_numpy(np.where(right[:, None], rewards, rewards[:, ::-1]).copy())

    def asked(factor):
        parts = iter(ordered.split(32))

        def say(batch):
            part = next(parts) * factor
            return part[:, 0], part[:, 1]

        return reward_report(say, data)

    honest, boastful = asked(1.0), asked(10.0)
    assert honest.calibration_error < 0.06 < 0.15 < boastful.calibration_error
    assert (
        honest.accuracy == boastful.accuracy == pytest.approx(right.mean(), abs=1e-9) or honest.accuracy > 0.6
    )


def test_losses_at_their_known_points():
    zero, one = torch.zeros(3), torch.ones(3)
    assert dpo_loss(zero, zero, zero, zero) == pytest.approx(np.log(2))
    assert dpo_loss(one, zero, zero, one, beta=0.5) == pytest.approx(np.log(1 + np.exp(-1)))
    assert hinge_loss(one * 10, zero, zero, zero, beta=0.1) == 0
    assert ipo_loss(one * 5, zero, zero, zero, beta=0.1) == 0  # Δ = 1 / (2 β)
    assert bradley_terry_loss(one, zero, one) == pytest.approx(np.log(2))
    smoothed = [dpo_loss(one * d, zero, zero, zero, 1.0, 0.2) for d in (0.5, np.log(4), 3.0)]
    assert smoothed[1] == min(smoothed)  # σ(Δ) = 1 - ε
    for loss in (dpo_loss, hinge_loss, ipo_loss):
        with pytest.raises(ValueError, match="beta must be above 0"):
            loss(zero, zero, zero, zero, 0.0)
        with pytest.raises(ValueError, match=r"expected float tensors \(B,\) of one length"):
            loss(zero, zero, zero, zero[:2])
    with pytest.raises(ValueError, match="label_smoothing must be between 0 and"):
        dpo_loss(zero, zero, zero, zero, label_smoothing=0.6)


def test_dpo_learns_the_order_and_its_reference_stays_what_it_was():
    model, held = Llama(LlamaConfig(**LLAMA), seed=0), PreferenceSet(pairs(40, seed=1))
    first = {side: held.with_reference(model).columns[f"reference_{side}"] for side in ("chosen", "rejected")}
    trainer = DPOTrainer(model, config(60, learning_rate=1e-2), pairs(400), held, beta=0.3)
    before = trainer.evaluate()
    assert before["eval_margin"] == pytest.approx(0, abs=1e-4)  # no reward yet
    assert before["eval_loss"] == pytest.approx(np.log(2), abs=1e-5)
    after = trainer.train()[-1]
    assert after["eval_accuracy"] > 0.65
    assert after["eval_margin"] > 0
    assert after["eval_loss"] < before["eval_loss"]
    kept = trainer.eval_source.columns
    assert all(torch.equal(kept[f"reference_{side}"], first[side]) for side in first)


def test_the_reference_of_dpo_has_trls_name_too():
    model, other = (Llama(LlamaConfig(**LLAMA), seed=seed) for seed in (0, 1))
    first, second = (
        DPOTrainer(model, config(1), pairs(4), **{name: other}).train_source.columns
        for name in ("reference", "ref_model")
    )
    assert all(torch.equal(first[name], second[name]) for name in ("reference_chosen", "reference_rejected"))
    assert not torch.equal(
        first["reference_chosen"], PreferenceSet(pairs(4)).with_reference(model).columns["reference_chosen"]
    )
    with pytest.raises(ValueError, match="reference and ref_model both are the reference"):
        DPOTrainer(model, config(1), pairs(4), reference=other, ref_model=other)


DROPS = GPT2_SIZES | {"resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5}


def test_dropout_is_off_where_two_readings_are_compared():
    """As trl has it: at the first step policy and reference are the same, the loss is log 2 to the last digits."""
    trainer = DPOTrainer(GPT2(GPT2Config(**DROPS), seed=0), config(1, log_every=1), pairs())
    assert trainer.train()[0]["train_loss"] == pytest.approx(np.log(2), abs=1e-5)
    assert trainer.model.training
    model, data = RewardModel(GPT2(GPT2Config(**DROPS), seed=0)), PreferenceSet(pairs(8))
    batch = data.rows(range(8))
    first, second = (RewardObjective()(model, batch).loss.detach() for _ in range(2))
    assert torch.equal(first, second)
    assert model.training
    assert model.body.training


def test_padding_on_the_left_is_refused_by_name():
    """A GPT-2 would read its tokens at other positions, and nobody would see it."""
    ids, mask = torch.tensor([[0, 0, 1, 2, 3]]), torch.tensor([[0, 0, 1, 1, 1]])
    labels, model = torch.tensor([[-100, -100, -100, -100, 3]]), GPT2(GPT2Config(**GPT2_SIZES), seed=0)
    for bad in (mask, torch.zeros_like(mask), torch.tensor([[1, 1, 0, 1, 1]])):
        with pytest.raises(ValueError, match="padding must stand on the right"):
            sequence_logprobs(model, ids, labels, bad)
        with pytest.raises(ValueError, match="padding must stand on the right"):
            RewardModel(model)(ids, bad)
    torch.testing.assert_close(
        sequence_logprobs(model, ids, labels, torch.ones_like(mask)), sequence_logprobs(model, ids, labels)
    )


@pytest.mark.parametrize("kind", ["mistral", "qwen2", "qwen3"])
def test_reward_models_of_the_llama_family_are_saved_and_others_refused_before_training(tmp_path, kind):
    model, ids = (
        RewardModel(LlamaBody(LlamaConfig(**LLAMA, model_type=kind), seed=0)).eval(),
        torch.ones(1, 4).long(),
    )
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(RewardModel.from_pretrained(tmp_path).eval()(ids), model(ids))
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    with pytest.raises(ValueError, match="body must be a decoder's body, a GPT2Body or LlamaBody"):
        RewardModel(BERT(BERTConfig(**sizes, intermediate_size=32, max_position_embeddings=32)))
    with pytest.raises(ValueError, match="expected an answer to each prompt, got 1 to 2"):
        model.reward([[1], [2]], [[2]])
    assert model.reward([], []) == []


def test_a_report_of_very_sure_rewards_has_no_overflow():
    def sure(batch):
        return torch.full((len(batch["labels"]),), -2000.0), torch.zeros(len(batch["labels"]))

    found = reward_report(sure, PreferenceSet(pairs(40)))
    assert (found.accuracy, found.calibration_error) == (0, pytest.approx(1))


def test_a_run_of_dpo_resumes_bit_for_bit(tmp_path):
    def run(folder, steps_each=None):
        settings = config(6, checkpoint_folder=folder, checkpoint_every=3, keep_last=5)
        trainer = DPOTrainer(Llama(LlamaConfig(**LLAMA), seed=0), settings, pairs())
        return trainer, trainer.train(steps_each)

    whole, _ = run(tmp_path / "one")
    again, _ = run(tmp_path / "two", tmp_path / "one" / "checkpoint-3")
    for a, b in zip(whole.model.parameters(), again.model.parameters()):
        assert torch.equal(a, b)
    other = DPOTrainer(Llama(LlamaConfig(**LLAMA), seed=1), config(6), pairs())
    with pytest.raises(ValueError, match="objective's reference"):
        other.train(tmp_path / "one" / "checkpoint-3")


def test_data_may_have_the_names_of_trl():
    def loss_of(*places, **named):
        trainer = DPOTrainer(Llama(LlamaConfig(**LLAMA), seed=0), *places, **named)
        return trainer.train()[-1]["train_loss"], trainer.evaluate()["eval_loss"]

    named = loss_of(args=config(2), train_dataset=pairs(8), eval_dataset=pairs(4, seed=1))
    assert named == loss_of(config(2), pairs(8), pairs(4, seed=1))
    with pytest.raises(ValueError, match="train_data and train_dataset both are what to learn"):
        DPOTrainer(Llama(LlamaConfig(**LLAMA)), config(), pairs(), train_dataset=pairs())


def test_a_reference_of_ones_own_and_a_critic_that_shares_nothing():
    model, other = (Llama(LlamaConfig(**LLAMA), seed=seed) for seed in (0, 1))
    trainer = DPOTrainer(model, config(), pairs(), reference=other)
    batch = trainer.train_source.rows(range(3))
    names = ("chosen_input_ids", "chosen_labels", "chosen_attention_mask")
    with torch.no_grad():
        torch.testing.assert_close(
            batch["reference_chosen"],
            sequence_logprobs(other, *(batch[one] for one in names)),
            rtol=1e-5,
            atol=1e-4,
        )
    reward = RewardModel(other, seed=2)
    critic = critic_of(reward)
    assert torch.equal(critic.score.weight, reward.score.weight)
    assert not {id(p) for p in critic.parameters()} & {id(p) for p in reward.parameters()}


def test_figures_of_pairs():
    found = pair_figures(EvalPrediction(np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), np.zeros(3)))
    assert found == {"accuracy": 0.5, "margin": pytest.approx(-1 / 3)}


def test_what_are_no_pairs_is_refused():
    good = pairs(2)
    for bad, message in (
        ([], "pairs must be a non-empty list"),
        ([{"prompt_ids": [1]}], "pair 0 must have prompt_ids, chosen_ids, rejected_ids"),
        ([good[0], good[1] | {"chosen_ids": []}], "prompt and answers of pair 1 must hold an id each"),
        ([good[0], good[1] | {"chosen_ids": [-1]}], "chosen_ids of pair 1 must hold ids of 0 or more"),
        ([good[0] | {"margin": 1.0}, good[1]], "margin must be a number in every pair or in none"),
        ([good[0] | {"margin": float("nan")}], "margin must be a finite number"),
        (["text"], "pair 0 must be a dict"),
        (
            [{side: {"input_ids": [1, 2], "labels": [1, -100]} for side in ("chosen", "rejected")}],
            "chosen of pair 0 has no label",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            PreferenceSet(bad)
    model = Llama(LlamaConfig(**LLAMA))
    with pytest.raises(ValueError, match="label_smoothing is one of dpo_loss, hinge_loss has none"):
        DPOTrainer(model, config(), good, loss=hinge_loss, label_smoothing=0.1)
    with pytest.raises(ValueError, match="DPOTrainer needs train_data"):
        DPOTrainer(model, config())
    with pytest.raises(ValueError, match="a batch of pairs must have reference_chosen"):
        DPOObjective()(model, PreferenceSet(good).rows([0]))
    with pytest.raises(ValueError, match="chosen: 2 examples have more than"):
        DPOTrainer(model, config(context_length=2), good)
    with pytest.raises(ValueError, match="loss must be a function"):
        DPOObjective(loss="ipo")
    with pytest.raises(ValueError, match="body must be a decoder's body"):
        RewardModel(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"ids must lie in 0\.\.19"):
        DPOTrainer(GPT2(GPT2Config(**GPT2_SIZES | {"vocab_size": 20})), config(), good)


def test_a_margin_is_one_number_or_one_of_each_pair():
    chosen, rejected = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.5])
    ones = bradley_terry_loss(chosen, rejected, torch.ones(2))
    torch.testing.assert_close(bradley_terry_loss(chosen, rejected, 1.0), ones)
    for margin in (
        torch.ones(2, 1),
        torch.ones(3),
        [1.0, 1.0],
        float("nan"),
    ):  # (2, 1) made 2 x 2 pairs of it
        with pytest.raises(ValueError, match="margin must be"):
            bradley_terry_loss(chosen, rejected, margin)


def test_rewards_are_of_ids_and_reports_of_pairs():
    model = RewardModel(Llama(LlamaConfig(**LLAMA)))
    for prompts, answers in (([[1.5]], [[2.5]]), ([[]], [[]]), (None, None), ([1], [2]), ([[1]], [[-1]])):
        with pytest.raises(ValueError, match=r"prompts? and answers? "):
            model.reward(prompts, answers)
    for call, message in (
        (lambda: reward_report(model, [{}]), "pairs must be a PreferenceSet"),
        (lambda: reward_report(5, PreferenceSet([PAIR])), "rewards must be a reward model or a function"),
        (lambda: pair_margins(model, [PAIR]), "pairs must be a PreferenceSet"),
        (lambda: pair_logprobs(model, {}), "a batch of pairs must have chosen_input_ids"),
        (lambda: preference_pair(None, None, "a", "b"), "prompt must be a text or a list"),
        (lambda: preference_pair(None, "a", 3, "b"), "chosen must be a text or a list"),
        (lambda: read_answers(model, None, [[1]], [[2], [3]], [0.0]), "got 1 prompts, 2 answers, 1 scores"),
        (lambda: read_answers(model, None, [], [], []), "at least one"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
