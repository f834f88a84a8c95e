"""A training step reads nothing off the device, however deep the model; what went wrong is found at the next record."""

import math
from types import SimpleNamespace

import pytest
import torch

from minillm.training import CausalLMObjective, TrainingDiverged, adamw
from tests.helpers import HostReads
from tests.training.test_trainer import same, tiny_models, trainer
from tests.training.toy import COUNTING, ToyLM


def as_on_a_gpu(monkeypatch, run):
    """Let a trainer on the CPU go the way it goes where reading a number means waiting."""
    monkeypatch.setattr(adamw, "best_update", lambda tensors: adamw.adamw_foreach)
    run._reads_are_free = False
    return run


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("limit", [1.0, None])
def test_a_step_asks_no_number_of_a_device_that_has_none(fused, limit):
    """Tensors on "meta" have shapes and no numbers: whoever reads one raises."""
    model = ToyLM(layers=2)
    settings = {"max_grad_norm": limit, "gradient_accumulation": 2, "device": "meta"}
    run = trainer(model, objective=CausalLMObjective(fused=fused), **settings)
    for _ in range(3):
        assert run._update()[1] == 64  # targets, counted before the batch goes there
    assert all(parameter.grad.device.type == "meta" for parameter in model.parameters())
    with pytest.raises(Exception, match="meta"):
        run._read_tally()


@pytest.mark.parametrize("model", tiny_models(), ids=["llama", "gpt2"])
def test_nor_do_our_models(model):
    run = trainer(model, device="meta")
    run._update()
    assert next(model.parameters()).device.type == "meta"


def test_on_a_cpu_a_deep_model_is_read_no_more_often_than_a_shallow_one():
    counts = []
    for layers in (1, 4):
        run = trainer(ToyLM(layers=layers), max_steps=6, log_every=100)
        with HostReads() as reads:
            run.train()
        counts.append(reads.count)
    assert counts[0] == counts[1] > 0


def test_reads_are_counted():
    x = torch.arange(3.0)
    with HostReads() as reads:
        x.sum().item()
        bool(x[0] > 1)
        x[x > 1]
        x.nonzero()
        x * 2
    assert reads.count == 4


def test_both_ways_learn_the_same(monkeypatch):
    here, there = trainer(max_steps=8), as_on_a_gpu(monkeypatch, trainer(max_steps=8))
    for a, b in zip(here.train(), there.train()):
        for key in ("train_loss", "gradient_norm", "learning_rate", "tokens"):
            assert a[key] == pytest.approx(b[key], rel=1e-4)
    for a, b in zip(here.model.parameters(), there.model.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


class Poisoned(ToyLM):
    """Gives NaN, or infinity, in its fifth forward pass of training and no other."""

    def __init__(self, bad):
        super().__init__(dropout=0.0)
        self.bad, self.calls = bad, 0

    def forward(self, input_ids, attention_mask=None):
        self.calls += self.training
        logits = super().forward(input_ids).logits
        return SimpleNamespace(logits=logits * (self.bad if self.training and self.calls == 5 else 1.0))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("log_every", [1, 4, 100])
def test_a_bad_step_is_found_late_and_the_weights_are_those_of_the_last_good_one(monkeypatch, bad, log_every):
    """Found at the end, at step 9, after four more steps: not one of them has changed anything."""
    good = as_on_a_gpu(monkeypatch, trainer(ToyLM(dropout=0.0), max_steps=9))
    for _ in range(4):
        good._update()
        good.step += 1
    run = as_on_a_gpu(monkeypatch, trainer(Poisoned(bad), max_steps=9, log_every=log_every))
    with pytest.raises(TrainingDiverged, match="stopped at step 5: loss nan"):
        run.train()
    assert run.step == 4
    assert same(run.model, good.model)
    for a, b in zip(run.optimizer.state.values(), good.optimizer.state.values()):
        assert a["step"] == b["step"] == 4
        assert torch.equal(a["m"], b["m"])
        assert torch.equal(a["v"], b["v"])
    run.train()  # the poison is gone: it goes on from there, and knows of no bad step any more
    assert run.step == 9


def test_a_bad_step_never_gets_into_a_checkpoint(monkeypatch, tmp_path):
    settings = {"log_every": 100, "checkpoint_folder": tmp_path, "checkpoint_every": 3}
    run = as_on_a_gpu(monkeypatch, trainer(Poisoned(math.nan), max_steps=9, **settings))
    with pytest.raises(TrainingDiverged, match="step 5"):
        run.train()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_bad_update_changes_no_bit_and_a_good_one_is_the_usual(dtype):
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(size, generator=generator).to(dtype) for size in (5, 3)]
    for good in (True, False):
        results = []
        for flag in (torch.tensor(good), None):
            weights, firsts, seconds = ([x.clone() for x in start] for _ in range(3))
            seconds = [x.abs() for x in seconds]
            gradients = [x * (1.0 if good else math.nan) for x in start]
            adamw.adamw_foreach(
                weights, gradients, firsts, seconds, 3, 0.1, (0.9, 0.95), 1e-8, 0.1, good=flag
            )
            results.append(weights + firsts + seconds)
        wanted = results[1] if good else start + start + [x.abs() for x in start]
        for got, expected in zip(results[0], wanted):
            assert (
                torch.equal(got, expected)
                if not good
                else torch.allclose(got, expected, rtol=1e-2, atol=1e-6)
            )


def test_a_bad_first_update_without_epsilon_leaves_zeros():
    weights, averages = [torch.ones(2)], [[torch.zeros(2)] for _ in "mv"]
    bad = [torch.tensor([math.nan, 0.0])]
    adamw.adamw_foreach(weights, bad, *averages, 1, 0.1, (0.9, 0.95), 0.0, 0.1, good=torch.tensor(False))
    assert torch.equal(weights[0], torch.ones(2))
    assert not averages[0][0].any()


def test_evaluation_runs_the_model_once_a_batch_and_reads_once():
    class Counted(ToyLM):
        runs = 0

        def forward(self, input_ids, attention_mask=None):
            self.runs += 1
            return super().forward(input_ids)

    metrics = {"accuracy": lambda prediction: {"accuracy": 1.0}, "none": None}
    for compute_metrics in metrics.values():
        run = trainer(Counted(), eval_data=COUNTING[:200], compute_metrics=compute_metrics)
        run.evaluate()
        assert run.model.runs == len(list(run.eval_source.eval_batches(4, 8)))
