"""Training a diffusion model: the loss against its formula, the smoothed copy against torch's, resuming bit for bit."""

import json

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from minillm.course.small.diffusion import (
    DIFFUSION,
    attributes_right,
    draw_wishes,
    new_trainer,
    small_diffusion,
    wishes,
)
from minillm.data import scenes
from minillm.models import NoiseSchedule, UNet, UNetConfig
from minillm.training import EMA, DiffusionTrainer, diffusion_loss

SIZES = {"widths": (8, 16), "heads": 2, "time_width": 8}


def world(n=24):
    """Pictures of one colour each, and the number of the colour."""
    wish = torch.arange(n).remainder(3)[:, None]
    return torch.eye(3)[wish[:, 0]][:, :, None, None].expand(-1, -1, 8, 8).contiguous(), wish


def trainer(seed=0, **options):
    images, wish = world()
    model = UNet(UNetConfig(classes=(3,), **SIZES))
    return DiffusionTrainer(model, NoiseSchedule(steps=100), images, wish, 60, 8, 5e-3, seed=seed, **options)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_the_loss_of_a_silent_network_is_the_power_of_its_target(prediction):
    x0 = world(600)[0] * 2 - 1
    schedule = NoiseSchedule(steps=100, prediction=prediction)
    loss = diffusion_loss(
        lambda x, t, c, d: torch.zeros_like(x), schedule, x0, None, torch.Generator().manual_seed(0)
    )
    assert abs(float(loss) - 1) < 0.05  # noise, this world's pictures and so their mixtures all have power 1


def test_the_share_of_dropped_wishes():
    dropped = []

    def model(x, t, condition, drop):
        dropped.append(float(drop.float().mean()))
        return x

    x0, wish = world(3000)
    for share in (0.0, 0.1, 1.0):
        diffusion_loss(model, NoiseSchedule(), x0, wish, torch.Generator().manual_seed(0), share)
        assert abs(dropped[-1] - share) < 0.03


def test_the_smoothed_copy_is_torchs():
    model = torch.nn.Linear(3, 2)
    ours, theirs = EMA(model, 0.9), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    theirs.update_parameters(model)  # its first call only copies
    for _ in range(5):
        with torch.no_grad():
            model.weight.add_(torch.randn(2, 3))
        ours.update(model)
        theirs.update_parameters(model)
    torch.testing.assert_close(ours.model.weight, theirs.module.weight)
    assert not ours.model.weight.requires_grad


def test_it_learns_and_goes_on_where_it_stopped():
    whole, first = trainer(), trainer()
    losses = whole.run(60)
    first.run(25)
    second = trainer()
    second.load_state_dict(first.state_dict())
    second.run(35)
    assert sum(losses[-20:]) / 20 < 0.9  # a network that says nothing has 1, see above
    assert second.losses == losses
    assert second.step == 60
    for a, b in zip(whole.ema.model.parameters(), second.ema.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert trainer(seed=1).run(1) != losses[:1]


@pytest.mark.parametrize(
    ("images", "wish", "names"),
    [
        (torch.zeros(4, 3, 8), None, "images"),
        (torch.zeros(4, 3, 8, 8) - 1, None, "0..1"),
        (torch.full((4, 3, 8, 8), 255.0), None, "0..1"),
        (torch.zeros(4, 3, 8, 8), torch.zeros(3, 1).long(), "one for each"),
    ],
)
def test_bad_pictures_are_named(images, wish, names):
    with pytest.raises(ValueError, match=names):
        DiffusionTrainer(UNet(UNetConfig(classes=(3,), **SIZES)), NoiseSchedule(), images, wish)


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("ema"),
        lambda state: state.update(step=61),
        lambda state: state.update(step=2),
        lambda state: state["ema"].popitem(),
        lambda state: state["optimizer"]["param_groups"][0]["params"].pop(),
        lambda state: state.update(losses=[float("nan")]),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(damage):
    first, second = trainer(), trainer(seed=3)
    first.run(1)
    state = first.state_dict()
    damage(state)
    before = [one.clone() for one in (*second.model.parameters(), *second.ema.model.parameters())]
    with pytest.raises(ValueError, match="state must be"):
        second.load_state_dict(state)
    assert all(map(torch.equal, before, (*second.model.parameters(), *second.ema.model.parameters())))
    assert (second.step, second.losses) == (0, [])


def test_the_kept_model_comes_from_its_script():
    """The first losses of its training, again: the recipe, its seed and its pictures are those of the kept file."""
    recorded = json.loads((DIFFUSION / "curve.json").read_text())["first losses"]
    again = new_trainer().run(len(recorded))
    assert len(recorded) == 8
    assert max(abs(a - b) for a, b in zip(recorded, again, strict=True)) < 0.01


def test_what_the_kept_model_draws_is_what_was_wished():
    curve = json.loads((DIFFUSION / "curve.json").read_text())
    wish = wishes(scenes(64, size=16, seed=5, split="train"))
    hits = attributes_right(draw_wishes(small_diffusion(), wish, 1.0, steps=10), wish)
    share = curve["kept"]["train, w=1"]["all"]
    assert hits.shape == (64, 4)
    assert float(hits.all(1).float().mean()) > share - 0.17  # 3 sigma of n = 64, and ten steps for 25
    assert float(hits[:, [0, 3]].float().mean()) > 0.9
