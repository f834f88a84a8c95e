"""DALL-E 2 in small, as it comes with minillm: its worlds of two sizes, its recipe, and what its files draw."""

import numpy as np
import pytest
import torch

from minillm.course.small.clip import small_clip
from minillm.course.small.diffusion import ATTRIBUTES, attributes_right, small_diffusion, wishes
from minillm.course.small.unclip import (
    KINDS,
    UNCLIP,
    as_pairs,
    cosines,
    doubled,
    draw_vectors,
    embeddings_of,
    exam,
    never_seen,
    new_decoder,
    new_decoder_trainer,
    new_prior_trainer,
    small_unclip,
    training_pairs,
    training_world,
)
from minillm.data import held_out_pairs, prove_held_out, scenes
from minillm.data.scenes_reader import read_scenes
from minillm.inference import draw_embeddings


@pytest.fixture(scope="module")
def kept():
    return small_unclip()


@pytest.fixture(scope="module")
def asked():
    world = exam(96)
    return as_pairs(small_clip(), world, world.captions)


def test_a_doubled_scene_is_the_same_scene():
    world = scenes(200, 16, 3)
    for seen, (one,), ground in zip(
        read_scenes(doubled(world)), world.objects, world.backgrounds, strict=True
    ):
        (found,) = seen.objects
        assert (found.shape, found.colour, found.size) == (one.shape, one.colour, one.size)
        assert found.box == tuple(2 * end for end in one.box)
        assert seen.background == ground
    squares = scenes(
        30, 16, 3, shapes=["square"], colours=["red", "blue"]
    )  # a square doubled is pixels doubled
    assert np.array_equal(doubled(squares), squares.images.repeat(2, 2).repeat(2, 3))


def test_nothing_of_the_exam_is_trained_on():
    world = training_world(4000)
    assert prove_held_out(set(exam().fingerprints), set(world.fingerprints), what="picture").items > 450
    pairs = {(one.colour, one.shape) for (one,) in world.objects}
    assert prove_held_out(held_out_pairs(), pairs, what="pair").items == 12
    assert 3000 < len(world) < 4000


def test_what_the_old_body_saw_is_counted(kept):
    """Both decoders start from 14_3's U-Net: most of the exam's pictures were among its own."""
    old = scenes(20_000, 16, 0, split="train").images  # as lesson 14_3's recipe has them
    known = {picture.tobytes() for picture in old}
    fresh = never_seen(exam(400))
    assert fresh.tolist() == [picture.tobytes() not in known for picture in exam(400).images]
    assert int((~fresh).sum()) == kept.facts["kept"]["seen before"]["by the U-Net of 14_3"]


def test_a_new_decoder_draws_as_the_old_one_without_a_wish():
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([10, 900])
    torch.testing.assert_close(new_decoder(64)(x, t), small_diffusion()(x, t))


@pytest.mark.soak
def test_the_kept_networks_come_from_their_script(kept):
    pairs = training_pairs(small_clip(), kept.facts["pictures"])
    assert kept.facts["seed"] == 0
    assert set(KINDS) <= kept.facts.keys()
    trainers = {"prior": new_prior_trainer(pairs)} | {
        kind: new_decoder_trainer(kind, pairs) for kind in KINDS
    }
    for name, trainer in trainers.items():
        recorded = kept.facts[name]["first losses"]
        assert len(recorded) == 8
        assert max(abs(a - b) for a, b in zip(recorded, trainer.run(8), strict=True)) < 0.02, name


def test_the_files_are_small():
    assert sum(path.stat().st_size for path in UNCLIP.iterdir()) < 1.5 * 2**20


def test_recorded_cosines_hold(kept, asked):
    figures = kept.facts["kept"]["embeddings"]["known pairs"]
    drawn = draw_embeddings(kept.prior, asked.texts, seed=7)
    assert abs(float(cosines(drawn, asked.pictures).mean()) - figures["seed 0"]["prior, best of two"]) < 0.01
    assert abs(float(cosines(asked.texts, asked.pictures).mean()) - figures["text"]) < 0.01


def test_recorded_shares_hold(kept, asked):
    """96 of the 400 that were recorded, by as many steps: three deviations of such a part of them."""
    wish, figures = wishes(asked.world), kept.facts["kept"]["ways"]["known pairs"]
    for name, vectors in embeddings_of(kept, asked).items():
        right = attributes_right(draw_vectors(kept.decoder, vectors, steps=15), wish).all(1)
        share, part = figures[name]["all"], len(right) / figures[name]["n"]
        sigma = (share * (1 - share) * (1 - part) / len(right)) ** 0.5
        assert abs(float(right.float().mean()) - share) < 3 * sigma, name


@pytest.mark.soak
def test_recorded_shares_are_what_is_drawn(kept):
    """All 400 again, attribute by attribute: another CPU's rounding turns a few pictures, not one in fifty."""
    world = exam(400)
    every, wish = as_pairs(small_clip(), world, world.captions), wishes(world)
    ways = {name: (kept.decoder, vectors) for name, vectors in embeddings_of(kept, every).items()}
    ways["direct decoder"] = (kept.direct, every.texts)
    for name, (decoder, vectors) in ways.items():
        hits = attributes_right(draw_vectors(decoder, vectors, steps=15), wish)
        figures = kept.facts["kept"]["ways"]["known pairs"][name]
        assert figures["n"] == len(hits)
        found = dict(zip(ATTRIBUTES, hits.float().mean(0).tolist())) | {
            "all": float(hits.all(1).float().mean())
        }
        assert all(abs(found[one] - figures[one]) < 0.02 for one in found), (name, found)
