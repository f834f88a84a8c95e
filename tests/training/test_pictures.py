"""The two stages of a LLaVA: what learns, what stays as it is, and that pictures are what is learned from."""

import math

import pytest
import torch

from minillm.models import LLaVA, LLaVAConfig
from minillm.training import Trainer, TrainerConfig
from minillm.training.objectives import PictureObjective, objective_for
from minillm.training.pictures import PictureCollator, freeze_for, look_once, picture_example
from tests.models.test_llava import IMAGE, TEXT, VISION, N

COLOURS = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
ASKED, PAD = 3, 0


def new_model(seed=0):
    text = TEXT | {"initializer_range": 0.1}
    return LLaVA(LLaVAConfig(vision_config=VISION, text_config=text, image_token_index=IMAGE), seed)


def world(count, name="picture_states"):
    """Flat pictures, and an answer token 5, 6 or 7 that says the colour."""
    which = torch.arange(count) % 3
    pixels = COLOURS[which][:, :, None, None].expand(-1, -1, 16, 16)
    noise = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    pixels = 0.9 * pixels + 0.1 * noise
    rows = [
        picture_example([([IMAGE, ASKED], [5 + int(i)])], IMAGE, N) | {name: place}
        for place, i in enumerate(which)
    ]
    return pixels, rows


def taught(model, rows, collate, steps=40, rate=1e-2):
    settings = TrainerConfig(
        max_steps=steps, batch_size=12, learning_rate=rate, warmup_steps=2, precision="fp32", seed=0
    )
    return Trainer(model, settings, rows, data_collator=collate).train()


def test_the_objective_of_a_llava_reads_pictures():
    assert type(objective_for(new_model())) is PictureObjective


def test_picture_example():
    turns = [([IMAGE, 3], [5, 6]), ([4], [7])]
    assert picture_example(turns, IMAGE, 2) == {
        "input_ids": [IMAGE, IMAGE, 3, 5, 6, 4, 7], "labels": [-100, -100, -100, 5, 6, -100, 7],
    }  # fmt: skip
    for wrong in ([], [([1], [])], [([1], [IMAGE])]):
        with pytest.raises(ValueError, match=r"turn|answer"):
            picture_example(wrong, IMAGE, 2)


@pytest.mark.parametrize("stage", ["align", "instruct"])
def test_each_stage_teaches_its_parts_alone(stage):
    model = freeze_for(new_model(), stage)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pixels, rows = world(12, "pixel_values")
    taught(model, rows, PictureCollator(PAD, pixels, "pixel_values"), steps=2)
    moved = {
        name.split(".")[0]
        for name, tensor in model.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    assert moved == ({"projector"} if stage == "align" else {"projector", "language"})


def test_what_the_tower_saw_once_teaches_the_same():
    losses = []
    for name in ("pixel_values", "picture_states"):
        pixels, rows = world(12, name)
        model = freeze_for(new_model(), "align")
        seen = pixels if name == "pixel_values" else look_once(model, pixels, batch_size=5)
        losses.append(
            [one["train_loss"] for one in taught(model, rows, PictureCollator(PAD, seen, name), steps=3)]
        )
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="pixel_values must be a tensor"):
        look_once(model, pixels.numpy())


def test_with_pictures_it_learns_what_without_them_nobody_can():
    """Three colours, equally often: a blind model cannot get below log 3 nats an answer."""
    pixels, rows = world(48)
    seeing = freeze_for(new_model(), "instruct")
    seeing_loss = taught(seeing, rows, PictureCollator(PAD, look_once(seeing, pixels)))[-1]["train_loss"]
    answers = [one["labels"][-1] for one in rows]
    blind_rows = [picture_example([([1, ASKED], [answer])], IMAGE, N) for answer in answers]
    blind = freeze_for(new_model(), "instruct")
    blind_loss = taught(blind, blind_rows, PictureCollator(PAD, None))[-1]["train_loss"]
    assert seeing_loss < 0.2
    assert blind_loss > math.log(3) - 0.2
