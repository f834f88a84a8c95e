"""float16 with a scaled loss: the scale goes where torch's GradScaler's goes, and a run survives an overflow."""

import pytest
import torch

from minillm.training.loss_scaling import LossScale
from tests.training.classifier import bits, classes, classifier_run
from tests.training.test_examples import Interrupted, StopAfter


def test_the_scale_and_the_gradients_are_torchs():
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    theirs = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    ours, seen = LossScale(1024.0, 3), []
    for step in range(40):
        factor = float("inf") if step in (5, 6, 20) else 0.5 + step
        optimizer.zero_grad()
        theirs.scale((weight * factor).sum()).backward()
        mine = [weight.grad.clone()]
        theirs.unscale_(optimizer)
        good = ours.undo(mine)
        assert good == (step not in (5, 6, 20))
        if good:
            torch.testing.assert_close(mine[0], weight.grad)
        theirs.step(optimizer)
        theirs.update()
        assert ours.scale == theirs.get_scale()
        seen.append(ours.scale)
    assert min(seen) < 1024 < max(seen)


def test_a_run_in_float16_stays_close_and_resumes_to_the_bit(tmp_path):
    settings = {"num_train_epochs": 4, "logging_steps": 1, "save_steps": 1}
    wide, narrow = (
        classifier_run(**settings | {"save_steps": 500}),
        classifier_run(tmp_path / "a", fp16=True, **settings),
    )
    losses = [[record["train_loss"] for record in run.train()] for run in (wide, narrow)]
    assert losses[1] == pytest.approx(losses[0], abs=0.02)
    assert losses[1] != losses[0]
    assert {parameter.dtype for parameter in narrow.model.parameters()} == {torch.float32}
    with pytest.raises(Interrupted):
        classifier_run(tmp_path / "b", fp16=True, callbacks=[StopAfter(3)], **settings).train()
    rest = classifier_run(tmp_path / "b", fp16=True, **settings)
    rest.train(resume_from_checkpoint=True)
    assert bits(rest) == bits(narrow)
    assert rest.loss_scale.state_dict() == narrow.loss_scale.state_dict()


def test_an_update_that_overflows_is_left_out():
    run = classifier_run(fp16=True, num_train_epochs=1, logging_steps=1, rows=classes(45))
    run.loss_scale = LossScale(2.0**140)  # larger than float32 holds
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    run.train()
    assert run.step == 6
    assert run.loss_scale.scale == 2.0**134
    assert not run.optimizer.state
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())
