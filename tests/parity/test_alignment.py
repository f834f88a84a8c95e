"""Alignment against trl: the losses on the same tensors to the last bit, the same models to rounding.

trl's `_compute_loss` is called as it is, with an object in place of the trainer that has what it reads.
"""

from collections import defaultdict
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minillm.models import LlamaForSequenceClassification, load_model
from minillm.tokenizer import BPETokenizer, load_tokenizer
from minillm.training import (
    PackedSet,
    PreferenceSet,
    RewardModel,
    RewardObjective,
    SFTObjective,
    best_fit,
    bradley_terry_loss,
    chat_example,
    dpo_loss,
    group_advantages,
    grpo_loss,
    hinge_loss,
    ipo_loss,
    ppo_loss,
    sequence_logprobs,
    token_logprobs,
)
from minillm.training.batches import ExampleSet
from tests.parity.chat_templates import TEMPLATES

transformers = pytest.importorskip("transformers", reason="the peer of this file: pip install -e '.[parity]'")
trl = pytest.importorskip("trl", reason="the peer of this file: pip install -e '.[parity]'")

from trl.trainer.dpo_trainer import DPOTrainer  # noqa: E402
from trl.trainer.grpo_trainer import GRPOTrainer  # noqa: E402
from trl.trainer.reward_trainer import RewardTrainer  # noqa: E402
from trl.trainer.sft_trainer import SFTTrainer  # noqa: E402
from trl.trainer.utils import add_fused_lm_head  # noqa: E402

TINY = {"vocab_size": 61, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "pad_token_id": 0,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64}  # fmt: skip
FIELDS = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")


class Accelerator:
    """One process that gathers nothing."""

    device, num_processes, sync_gradients = torch.device("cpu"), 1, True
    autocast = staticmethod(nullcontext)

    def gather(self, x):
        return x

    gather_for_metrics = gather

    def reduce(self, x, reduction):
        return x


def trainer(**settings):
    """What trl's losses read of a trainer."""
    usual = {
        "accelerator": Accelerator(), "aux_loss_enabled": False, "_metrics": defaultdict(lambda: defaultdict(list)),
        "_total_train_tokens": 0, "_tp_size": 1, "current_gradient_accumulation_steps": 1,
        "model": SimpleNamespace(training=True), "args": SimpleNamespace(),
    }  # fmt: skip
    return SimpleNamespace(**usual | settings)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """(a function that opens our model, theirs) of the same weights."""
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**TINY, tie_word_embeddings=False)
    theirs = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.mul_(4 if weight.ndim > 1 else 1)
    theirs.save_pretrained(folder)
    add_fused_lm_head(theirs, outputs=FIELDS)
    return (lambda: load_model(folder)), theirs, folder


def drawn_pairs(count=5, seed=0):
    rng = np.random.default_rng(seed)
    draw = lambda low, high: rng.integers(1, 61, rng.integers(low, high)).tolist()  # noqa: E731
    return [
        {"prompt_ids": draw(2, 9), "chosen_ids": draw(1, 12), "rejected_ids": draw(1, 12)}
        for _ in range(count)
    ]


def their_batch(pairs):
    """Padded as trl's collators do: first all better answers, then the worse ones."""
    rows = [(one["prompt_ids"], one[side]) for side in ("chosen_ids", "rejected_ids") for one in pairs]
    width = max(len(p) + len(a) for p, a in rows)
    ids, mask, completion = (torch.zeros(len(rows), width, dtype=torch.int64) for _ in range(3))
    for row, (prompt, answer) in enumerate(rows):
        ids[row, : len(prompt) + len(answer)] = torch.tensor([*prompt, *answer])
        mask[row, : len(prompt) + len(answer)] = 1
        completion[row, len(prompt) : len(prompt) + len(answer)] = 1
    return {"input_ids": ids, "attention_mask": mask, "completion_mask": completion}


def same_gradients(ours, theirs, tolerance=1e-5):
    """Our gradients under their names, against theirs; their number."""
    mine = ours.to_hugging_face({name: p.grad for name, p in ours.named_parameters()})
    for name, parameter in theirs.named_parameters():
        scale = parameter.grad.abs().max() + 1e-12
        assert (mine[name] - parameter.grad).abs().max() <= tolerance * max(scale, 1), name
    return len(mine)


# --- DPO -------------------------------------------------------------------------------------------------------------


def their_dpo(model, batch, kind, beta, reference):
    given = trainer(
        model=SimpleNamespace(training=True), ld_alpha=None, precompute_ref_logps=True, beta=beta, loss_types=[kind],
        loss_weights=[1.0], f_divergence_type="reverse_kl", label_smoothing=0.1, use_weighting=False,
    )  # fmt: skip
    inputs = batch | {"ref_chosen_logps": reference[0], "ref_rejected_logps": reference[1]}
    return DPOTrainer._compute_loss(given, model, inputs, False)


def as_log_probs(found):
    """A model that says nothing but these log probabilities (2B, T - 1)."""

    def model(**inputs):
        rest = {name: torch.zeros_like(found) for name in ("entropy", "mean_logits")}
        return SimpleNamespace(log_probs=found, is_top1=torch.zeros_like(found, dtype=torch.bool), **rest)

    return model


@pytest.mark.parametrize("beta", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("kind", ["sigmoid", "hinge", "ipo", "aot"])
def test_preference_losses_on_the_same_tensors(kind, beta):
    pairs = drawn_pairs(1 if kind == "aot" else 7, seed=3)  # aot sorts the pairs: with one it is smoothed DPO
    batch, count = their_batch(pairs), len(pairs)
    counted = batch["completion_mask"][:, 1:].float()
    generator = torch.Generator().manual_seed(1)
    start = -3 * torch.rand(counted.shape, generator=generator) * counted
    reference = -20 * torch.rand(2, count, generator=generator)
    mine, theirs = (start.clone().requires_grad_() for _ in range(2))
    sums = mine.sum(dim=1).chunk(2)
    if kind == "ipo":  # trl's are means over the tokens
        lengths = batch["completion_mask"].sum(dim=1).chunk(2)
        sums, given = ([x / n for x, n in zip(side, lengths)] for side in (sums, reference))
        ours = ipo_loss(*sums, *given, beta)
    elif kind == "aot":
        ours = dpo_loss(*sums, *reference, beta, label_smoothing=0.1)
    else:
        ours = {"sigmoid": dpo_loss, "hinge": hinge_loss}[kind](*sums, *reference, beta)
    expected = their_dpo(as_log_probs(theirs), batch, kind, beta, reference)
    ours.backward()
    expected.backward()
    assert mine.grad.abs().sum() > 0 or kind == "hinge"
    # smoothed and divided losses are summed in another order
    torch.testing.assert_close(ours, expected, rtol=2e-6 if kind in ("ipo", "aot") else 0, atol=0)
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=2e-5 if kind in ("ipo", "aot") else 0, atol=1e-7 * (kind in ("ipo", "aot")))  # noqa: E501 # fmt: skip


def test_dpo_of_a_model(models):
    opened, theirs, _ = models
    ours, pairs = opened(), drawn_pairs()
    batch, mine = their_batch(pairs), PreferenceSet(pairs).rows(range(len(pairs)))
    reference = -30 * torch.rand(2, len(pairs), generator=torch.Generator().manual_seed(0))
    sides = [
        sequence_logprobs(
            ours, *(mine[f"{side}_{name}"] for name in ("input_ids", "labels", "attention_mask"))
        )
        for side in ("chosen", "rejected")
    ]
    loss = dpo_loss(*sides, *reference, 0.1)
    expected = their_dpo(theirs, batch, "sigmoid", 0.1, reference)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    theirs.zero_grad(), loss.backward(), expected.backward()
    assert same_gradients(ours, theirs) == 21


# --- GRPO, and PPO's clipped loss ------------------------------------------------------------------------------------


def their_grpo(logprobs, old, advantages, mask, reference, beta, clip, loss_type, max_length):
    model = SimpleNamespace(training=True)
    given = trainer(
        model=model, beta=beta, epsilon_low=clip, epsilon_high=clip, loss_type=loss_type, top_entropy_quantile=1.0,
        off_policy_mask_threshold=None, importance_sampling_level="token", use_vllm=False, _entropy_bonus_enabled=False,
        max_completion_length=max_length,
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logprobs, torch.zeros_like(logprobs), None),
    )  # fmt: skip
    ids = torch.zeros_like(mask, dtype=torch.int64)
    inputs = {
        "prompt_ids": ids[:, :1], "prompt_mask": ids[:, :1] + 1, "completion_ids": ids, "completion_mask": mask,
        "advantages": advantages, "old_per_token_logps": old, "ref_per_token_logps": reference,
        "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    return GRPOTrainer._compute_loss(given, model, inputs)


def drawn_tokens(seed=0, rows=6, width=9):
    generator = torch.Generator().manual_seed(seed)
    logprobs, old, reference = -2 * torch.rand(3, rows, width, generator=generator)
    lengths = torch.randint(1, width + 1, (rows,), generator=generator)
    mask = (torch.arange(width) < lengths[:, None]).float()
    return logprobs, old, reference, mask, torch.randn(rows, generator=generator)


@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dr_grpo"])
@pytest.mark.parametrize("beta", [0.0, 0.04, 1.0])
@pytest.mark.parametrize("clip", [0.05, 0.2])
def test_grpo_on_the_same_tensors(loss_type, beta, clip):
    logprobs, old, reference, mask, advantages = drawn_tokens()
    mine, theirs = (logprobs.clone().requires_grad_() for _ in range(2))
    ours = grpo_loss(mine, old, advantages, mask, reference, beta, clip, loss_type, max_length=12)
    expected = their_grpo(theirs, old, advantages, mask, reference, beta, clip, loss_type, 12)
    ours.backward(), expected.backward()
    assert (ours - expected).item() == 0
    assert (mine.grad - theirs.grad).abs().max() == 0 < mine.grad.abs().max()


def test_their_usual_average_over_one_batch_is_ours_of_all_tokens():
    """ "dapo" divides by the tokens of the accumulated batch; of one process and one step that is "bnpo"."""
    assert trl.GRPOConfig.__dataclass_fields__["loss_type"].default == "dapo"
    assert trl.GRPOConfig.__dataclass_fields__["beta"].default == 0.0
    logprobs, old, reference, mask, advantages = drawn_tokens(seed=2)
    ours = grpo_loss(logprobs, old, advantages, mask, reference, 0.04, 0.2, "bnpo")
    expected = their_grpo(logprobs, old, advantages, mask, reference, 0.04, 0.2, "dapo", 9)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-7)


def test_ppo_is_their_clipped_loss_with_an_advantage_for_each_token():
    logprobs, old, _, mask, _ = drawn_tokens(seed=4)
    advantages = torch.randn(mask.shape, generator=torch.Generator().manual_seed(5))
    mine, theirs = (logprobs.clone().requires_grad_() for _ in range(2))
    ours = ppo_loss(mine, old, advantages, mask, 0.1)
    expected = their_grpo(theirs, old, advantages, mask, None, 0.0, 0.1, "bnpo", 9)
    ours.backward(), expected.backward()
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-6, atol=1e-8)


def test_log_probabilities_are_their_fused_ones(models):
    opened, theirs, _ = models
    batch = their_batch(drawn_pairs(seed=8))
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    with torch.no_grad():
        expected = theirs(
            batch["input_ids"], batch["attention_mask"], labels=labels, fused_lm_head=True
        ).log_probs
        found = token_logprobs(opened(), batch["input_ids"], labels, batch["attention_mask"])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert ((found == 0) == (labels[:, 1:] == -100)).all()


# --- rewards ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_margin", [False, True])
def test_reward_model_and_its_loss(tmp_path, with_margin):
    torch.manual_seed(1)
    theirs = transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**TINY, num_labels=1))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = RewardModel.from_pretrained(tmp_path / "theirs")
    pairs = drawn_pairs(seed=2)
    if with_margin:
        pairs = [one | {"margin": 0.25 * i} for i, one in enumerate(pairs)]
    batch = their_batch(pairs)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    inputs |= {"margin": torch.tensor([one["margin"] for one in pairs])} if with_margin else {}
    given = trainer(model=theirs, args=SimpleNamespace(center_rewards_coefficient=None))
    expected = RewardTrainer.compute_loss(given, theirs.train(), inputs)
    loss = RewardObjective()(ours, PreferenceSet(pairs).rows(range(len(pairs)))).loss
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-7)
    loss.backward(), expected.backward()
    mine = LlamaForSequenceClassification(ours.config.with_labels(1))
    names = mine.to_hugging_face({name: p.grad for name, p in ours.named_parameters()})
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(names[name], parameter.grad, rtol=1e-4, atol=1e-7)
    ours.save_pretrained(tmp_path / "ours")
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours")
    with torch.no_grad():
        torch.testing.assert_close(
            ours(batch["input_ids"], batch["attention_mask"]),
            again(batch["input_ids"], batch["attention_mask"]).logits[:, 0],
        )


def test_bradley_terry_on_the_same_tensors():
    rewards = torch.randn(2, 9, generator=torch.Generator().manual_seed(0))
    given = trainer(args=SimpleNamespace(center_rewards_coefficient=None))
    out = SimpleNamespace(logits=rewards.reshape(-1, 1))
    inputs = {"attention_mask": torch.ones(18, 2)}
    assert bradley_terry_loss(*rewards) == RewardTrainer.compute_loss(given, lambda **_: out, inputs)


# --- SFT -------------------------------------------------------------------------------------------------------------


def test_sft_loss_is_theirs_packed_or_not(models):
    opened, theirs, _ = models
    rng = np.random.default_rng(0)
    examples = []
    for _ in range(6):
        ids = rng.integers(1, 61, rng.integers(4, 20)).tolist()
        examples.append({"input_ids": ids, "labels": [-100] * 2 + ids[2:]})
    batch = ExampleSet(examples)._padded(range(6))
    given = trainer(
        model=theirs.train(), compute_loss_func=None, label_smoother=None,
        args=SimpleNamespace(loss_type="nll", average_tokens_across_devices=False),
    )  # fmt: skip
    given.accelerator.parallelism_config = None
    expected = SFTTrainer.compute_loss(given, theirs, dict(batch))
    for data in (ExampleSet(examples), PackedSet(examples, 24)):
        ours = opened()
        loss = SFTObjective()(ours, data._padded(range(len(data)))).loss
        torch.testing.assert_close(loss, expected, rtol=2e-6, atol=1e-6)
        theirs.zero_grad(), loss.backward(), expected.backward(retain_graph=True)
        assert same_gradients(ours, theirs) == 21
    assert len(data) < 6


def test_packing_needs_as_few_rows_as_theirs():
    datasets = pytest.importorskip("datasets", reason="the peer of this test: pip install -e '.[parity]'")
    rng = np.random.default_rng(1)
    for room in (10, 17, 64):
        lengths = rng.integers(1, room + 1, 80).tolist()
        rows = datasets.Dataset.from_dict({"input_ids": [[1] * n for n in lengths]})
        theirs = trl.pack_dataset(rows, seq_length=room, strategy="bfd")
        packs = best_fit(lengths, room)
        assert len(packs) == len(theirs)
        assert sorted(i for pack in packs for i in pack) == list(range(80))
        assert sorted(sum(lengths[i] for i in pack) for pack in packs) == sorted(
            map(len, theirs["input_ids"])
        )


SPECIALS = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")
MARKED = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% else %}{{ m.content + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def test_answers_are_where_their_generation_marks_are(tmp_path):
    tokenizer = BPETokenizer.train(["a chat with the assistant, 한국어로 말한다"], 290, SPECIALS)
    tokenizer.roles, tokenizer.chat_template = {"eos_token": "</s>", "pad_token": "</s>"}, TEMPLATES["chatml"]
    tokenizer.save(tmp_path)
    ours, theirs = load_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    chats = [
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": " 안녕하세요 "}],
        [{"role": "system", "content": "s"}, {"role": "user", "content": "한국"}, {"role": "assistant", "content": "a"},
         {"role": "user", "content": "b"}, {"role": "assistant", "content": "the\n\nend"}],
    ]  # fmt: skip
    for chat in chats:
        found = chat_example(ours, chat)
        expected = theirs.apply_chat_template(
            chat, chat_template=MARKED, return_assistant_tokens_mask=True, return_dict=True
        )
        assert found["input_ids"] == expected["input_ids"]
        assert [one != -100 for one in found["labels"]] == [bool(one) for one in expected["assistant_masks"]]


def test_group_advantages_are_theirs():
    scores = torch.randn(24, generator=torch.Generator().manual_seed(0))
    scores[:6] = 1.5  # a group that agrees
    groups = scores.view(-1, 6)
    # the two lines of GRPOTrainer._generate_and_score_completions
    expected = (scores - groups.mean(1).repeat_interleave(6)) / (groups.std(1).repeat_interleave(6) + 1e-4)
    assert torch.equal(group_advantages(scores, 6), expected)


def test_calibration_error_is_that_of_their_curve():
    sklearn = pytest.importorskip(
        "sklearn.calibration", reason="the peer of this test: pip install -e '.[parity]'"
    )
    from minillm.evaluation import expected_calibration_error

    rng = np.random.default_rng(0)
    p = rng.random(400)
    y = rng.random(400) < p**2
    for bins in (5, 10, 15):
        share, mean = sklearn.calibration_curve(y, p, n_bins=bins)
        counts = np.histogram(p, np.linspace(0, 1, bins + 1))[0]
        expected = (np.abs(share - mean) * counts[counts > 0]).sum() / 400
        assert expected_calibration_error(p, y, bins) == pytest.approx(expected, abs=1e-12)
