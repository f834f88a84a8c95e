"""The four readers of lesson 02_2: what they share and where they differ; their figures for three seeds (soak)."""

import pytest
import torch

from minillm.course.small.positions import (
    KINDS,
    LONGEST,
    SCALINGS,
    TRAINED,
    loss_by_position,
    new_reader,
    position_data,
    quarters,
    results,
    with_scaling,
)
from minillm.course.small.recipe import one_thread
from tests.helpers import soak_seeds


def test_quarters_hold_the_same_bytes():
    text = torch.arange(20 * TRAINED + 1)
    windows = text.unfold(0, LONGEST + 1, TRAINED)
    found = quarters(windows[:, 1:].float())  # each "loss" is the number of the byte that is predicted
    assert found.shape == (4, len(windows) - 3)
    expected = torch.stack(
        [text[b * TRAINED + 1 : (b + 1) * TRAINED + 1].float().mean() for b in range(3, len(windows))]
    )
    for quarter in found:
        assert torch.equal(quarter, expected)


def test_the_exam_is_cut_into_overlapping_windows_of_unseen_text():
    train, windows, proof = position_data()
    assert windows.shape[1] == LONGEST + 1
    assert torch.equal(windows[1, : LONGEST + 1 - TRAINED], windows[0, TRAINED:])
    assert proof.items > 50
    sentence = bytes(windows[40, :60].tolist())
    assert sentence not in bytes(train.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_readers_are_causal_seeded_and_leave_the_generator_alone(kind):
    before = torch.get_rng_state()
    readers = [new_reader(kind, seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    ids = torch.arange(40)[None] + 60
    changed = torch.cat((ids[:, :20], ids[:, 20:] + 1), dim=1)
    with torch.no_grad():
        first, same, other = (reader(ids).logits for reader in readers)
        assert torch.equal(first, same)
        assert not torch.equal(first, other)
        torch.testing.assert_close(readers[0](changed).logits[:, :20], first[:, :20])
    losses = loss_by_position(readers[0], ids)
    expected = torch.nn.functional.cross_entropy(first[0, :-1], ids[0, 1:], reduction="none")
    torch.testing.assert_close(losses[0], expected)


def test_a_scaled_reader_is_a_copy():
    reader, ids = new_reader("RoPE"), torch.arange(100)[None]
    with torch.no_grad():
        before = reader(ids).logits
        for scaling in SCALINGS.values():
            assert not torch.equal(with_scaling(reader, scaling)(ids).logits, before)
        assert torch.equal(reader(ids).logits, before)
        assert torch.equal(with_scaling(reader, None)(ids).logits, before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: new_reader("rope"), "kind must be one of .* got 'rope'"),
        (lambda: new_reader("RoPE", seed=-1), "seed must be at least 0, got -1"),
        (lambda: with_scaling(new_reader("ALiBi"), None), "must have rotary positions, got"),
        (lambda: loss_by_position(new_reader("RoPE"), torch.zeros(3)), "windows must be a LongTensor"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", soak_seeds([0, 1, 2]))
def test_what_lesson_02_2_says_holds_for_each_seed(seed):
    train, windows, _ = position_data()
    with one_thread():
        found = {name: q for kind in KINDS for name, q in results(kind, train, windows, seed).items()}
    mean = {name: losses.mean(1) for name, losses in found.items()}
    assert mean["learned"][3] - mean["learned"][0] > 0.15
    assert mean["sinusoidal"][3] - mean["sinusoidal"][0] > 0.3
    assert mean["RoPE"][3] - mean["RoPE"][0] > 0.5
    assert abs(mean["ALiBi"][3] - mean["ALiBi"][0]) < 0.1
    assert mean["ALiBi"][0] - mean["RoPE"][0] > 0.05
    assert mean["RoPE, linear"][0] - mean["RoPE"][0] > 0.3
    assert mean["RoPE"][1] - mean["RoPE, dynamic NTK"][1] > 0.15
    assert mean["RoPE"][3] - mean["RoPE, YaRN"][3] > 0.3
    assert abs(mean["RoPE, YaRN"][3] - mean["RoPE, YaRN"][0]) < 0.2
    assert mean["RoPE, YaRN"][0] > mean["RoPE"][0]
