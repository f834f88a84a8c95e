"""Every form of parallel training against one process, on 2 and 4 ranks. All of a number of ranks run in one launch."""

import math
import sys
from functools import lru_cache

import pytest
import torch

from minillm.training.parallel import (
    RankFailed,
    bubble,
    gpipe,
    one_forward_one_backward,
    place,
    run_ranks,
    zero_bytes,
)
from tests.training.parallel import ranks as work

EXACT = 1e-12  # float64; measured 3e-14 and less
# gloo may be absent where torch was built without it
pytestmark = [
    pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed"),
    pytest.mark.skipif(sys.platform == "win32", reason="gloo on Windows needs a build of torch with libuv"),
    pytest.mark.timeout(280),
]
COUNTS = [2, pytest.param(4, marks=pytest.mark.soak)]


def on_2_and_4(forms):
    """(form, ranks); forms of another model run on 2 only."""
    four = [form for form in forms if " of " not in form]
    return [(form, 2) for form in forms] + [pytest.param(form, 4, marks=pytest.mark.soak) for form in four]


@lru_cache
def launched(ranks):
    """(what the ranks found, None), or (None, why they failed): they are not started again for every test."""
    try:
        return run_ranks(work.everything, ranks, seconds=250), None
    except RankFailed as error:
        return None, error


def everything(ranks):
    found, error = launched(ranks)
    if error is not None:
        raise error
    return found


@lru_cache
def alone(make=work.llama, eps=work.EPS):
    return work.one_process(make(), eps)


def furthest(weights, oracle):
    """The largest difference of weights, all names of which the oracle has."""
    assert weights
    return max((tensor - oracle[name]).abs().max().item() for name, tensor in weights.items())


FORMS = {
    "data parallel, plain": (work.llama, work.EPS), "data parallel": (work.llama, work.EPS),
    "zero-1": (work.llama, work.EPS), "zero-2": (work.llama, work.EPS),
    "zero-3": (work.llama, work.EPS), "tensors": (work.llama, work.EPS), "tensors of qwen3": (work.qwen3, work.EPS),
    # the keys' bias has no gradient but rounding, which Adam would blow up to its own size: hence the larger eps
    "tensors of gpt2": (work.gpt2, 1e-4),
}  # fmt: skip


@pytest.mark.parametrize(("form", "ranks"), on_2_and_4(FORMS))
def test_ten_steps_are_those_of_one_process(form, ranks):
    oracle, losses = alone(*FORMS[form])
    assert losses[0] - losses[-1] > 0.3
    for found in everything(ranks):
        their_losses, weights = found[form][:2]
        assert weights.keys() == oracle.keys()
        assert furthest(weights, oracle) < EXACT
        assert their_losses == pytest.approx(losses, abs=1e-12)


PIPELINES = {
    "gpipe": (work.untied_llama, work.EPS, 4), "1f1b": (work.untied_llama, work.EPS, 4),
    "1f1b of gpt2": (work.untied_gpt2, 1e-4, 8),
}  # fmt: skip


@pytest.mark.parametrize(("form", "ranks"), on_2_and_4(PIPELINES))
def test_ten_steps_of_a_pipeline(form, ranks):
    make, eps, _ = PIPELINES[form]
    oracle, losses = alone(make, eps)
    together = {}
    for found in everything(ranks):
        their_losses, weights = found[form][:2]
        assert furthest(weights, oracle) < EXACT
        assert their_losses == pytest.approx(losses, abs=1e-12)
        assert not together.keys() & weights.keys()
        together |= weights
    assert together.keys() == {name for name, _ in make().named_parameters()}


@pytest.mark.parametrize(("form", "ranks"), on_2_and_4(PIPELINES))
def test_slots_of_a_pipeline_that_ran(form, ranks):
    """The empty share is the papers' (p - 1) / (m + p - 1); GPipe remembers m micro-batches, 1F1B at most p - rank."""
    m = PIPELINES[form][2]
    for rank, found in enumerate(everything(ranks)):
        slots, kept = found[form].more["slots"], found[form].more["kept"]
        assert kept == (m if form == "gpipe" else min(m, ranks - rank))
        total = 1 + max(slot.start for line in slots for slot in line)
        assert total == 2 * (m + ranks - 1)
        assert 1 - 2 * m * ranks / (total * ranks) == pytest.approx((ranks - 1) / (m + ranks - 1))
        assert bubble(ranks, m) == pytest.approx((ranks - 1) / (m + ranks - 1))
        # no pass began before the one it needs had ended
        when = {
            (line, slot.work, slot.microbatch): slot.start
            for line, every in enumerate(slots)
            for slot in every
        }
        assert len(when) == 2 * m * ranks
        for (line, kind, i), start in when.items():
            needs = (line - 1, "F", i) if kind == "F" else (line + 1, "B", i)
            assert when.get(needs, -1) < start
            assert kind == "F" or when[line, "F", i] < start


def test_orders_of_the_papers():
    """As drawn in the docstring for 3 ranks and 4 micro-batches."""
    read = lambda text: [(word[0], int(word[1])) for word in text.split()]  # noqa: E731
    assert gpipe(1, 3, 4) == read("F0 F1 F2 F3 B0 B1 B2 B3")
    assert one_forward_one_backward(0, 3, 4) == read("F0 F1 F2 B0 F3 B1 B2 B3")
    assert one_forward_one_backward(2, 3, 4) == read("F0 B0 F1 B1 F2 B2 F3 B3")
    assert one_forward_one_backward(0, 4, 2) == read("F0 F1 B0 B1")


@pytest.mark.parametrize("ranks", COUNTS)
def test_the_ring_sums_and_sends_what_the_formula_says(ranks):
    for rank, found in enumerate(everything(ranks)):
        sums, mine, every = found["ring"]
        assert len(sums) == 21
        for (size, dtype), (ring, plain, sent, sent_plain) in sums.items():
            width = 4 if dtype == "torch.float32" else 8
            assert max(ring, plain) <= (0 if "int" in dtype else 1e-14 if width == 8 else 1e-5)
            if size % ranks == 0:
                assert sent == 2 * (ranks - 1) * size * width / ranks
            else:  # chunks differ by one number
                assert abs(sent - 2 * (ranks - 1) * size * width / ranks) <= 2 * (ranks - 1) * width
            assert sent_plain == size * width * (ranks - 1 if rank == 0 else 1)
        factor = sum(range(1, ranks + 1))
        expected = torch.arange(ranks * 3.0).view(ranks, 3) * factor
        assert torch.equal(mine, expected[rank])
        assert torch.equal(every, expected.flatten())


@pytest.mark.parametrize("ranks", COUNTS)
def test_layers_that_are_cut_are_the_whole_ones(ranks):
    for found in everything(ranks):
        layers = dict(found["layers"])
        column, row, table = layers.pop("shapes")
        assert (column, row, table) == ((12 // ranks, 8), (12, 8 // ranks), (work.WORDS // ranks, 4))
        assert layers.keys() == {"column", "row", "embedding", "loss"}
        assert max(layers.values()) < EXACT


@pytest.mark.parametrize("ranks", COUNTS)
def test_bytes_of_zero_are_the_formula(ranks):
    """Of the model's 16-byte training state (here float64: 32 bytes a parameter) a rank holds what the paper says."""
    count = sum(p.numel() for p in work.llama().parameters())
    for found in everything(ranks):
        held = {stage: found[f"zero-{stage}"].more for stage in (1, 2, 3)}
        n, width = ranks, 8 * count
        assert held[1] == {"weights": width, "gradients": width, "averages": 2 * width / n}
        assert held[2] == {"weights": width, "gradients": width / n, "averages": 2 * width / n}
        assert held[3] == {"weights": width / n, "gradients": width / n, "averages": 2 * width / n}
        for stage, bytes_held in held.items():
            assert sum(bytes_held.values()) == zero_bytes(count, ranks, stage, width=8)


def test_the_formula_is_the_papers():
    """Rajbhandari et al. 2020, figure 1, with Adam in float32 alone; and the measured model of 230,528 parameters."""
    found = [zero_bytes(230_528, 4, stage) for stage in (0, 1, 2, 3)]
    assert found == [3_688_448, 2_305_280, 1_613_696, 922_112]


@pytest.mark.parametrize("ranks", COUNTS)
def test_buckets_leave_while_the_backward_pass_goes_on(ranks):
    for found in everything(ranks):
        events = found["data parallel"].more["events"]
        sends = [number for kind, number in events if kind == "send"]
        assert sends == list(range(len(sends)))
        assert len(sends) > 3
        first = events.index(("send", 0))
        # most gradients come after the first bucket has left
        assert sum(kind == "ready" for kind, _ in events[first:]) > sum(
            kind == "ready" for kind, _ in events[:first]
        )
        names = [name for kind, name in events if kind == "ready"]
        assert sorted(names) == sorted(name for name, _ in work.llama().named_parameters())


@pytest.mark.parametrize("ranks", [2])
def test_parts_of_a_model_that_rows_do_not_use(ranks):
    x = torch.arange(4 * ranks, dtype=torch.float64).view(ranks, 4)
    mean = x.mean(0).expand(4, 4)  # of the gradients of sum(x W)
    for rank, found in enumerate(everything(ranks)):
        sometimes, never, always, local, twice, broke, again = found["unused"]
        torch.testing.assert_close(sometimes, (x[0] / ranks).expand(4, 4))
        assert never is None
        torch.testing.assert_close(always, mean)
        torch.testing.assert_close(local, x[rank].expand(4, 4))
        torch.testing.assert_close(twice, 2 * mean)
        assert broke == "broke"
        torch.testing.assert_close(again, mean)


@pytest.mark.parametrize("ranks", [2])
def test_clipping_sees_the_whole_gradient(ranks):
    model = work.llama()
    ids = work.batches(1)[0]
    work.loss_of(model(ids[:, :-1]).logits, ids[:, 1:]).backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01).item()
    for found in everything(ranks):
        for before, after in found["clipped"]:
            assert before == pytest.approx(norm, rel=1e-12)
            assert after == pytest.approx(0.01, rel=1e-4)  # torch, too, divides by norm + 1e-6


@pytest.mark.parametrize("ranks", [2])
def test_odd_passes(ranks):
    for found in everything(ranks):
        assert len(found["odd"]) == 3
        for ours, theirs in found["odd"]:
            assert ours == pytest.approx(theirs, rel=1e-12)
        norm, largest = found["halves"]
        assert norm == pytest.approx(300 * math.sqrt(42), rel=1e-6)
        assert largest == pytest.approx(1 / math.sqrt(42), rel=1e-2)


@pytest.mark.parametrize("ranks", [2])
def test_weights_of_stage_3_are_gone_between_passes(ranks):
    count = sum(p.numel() for p in work.llama().parameters())
    for found in everything(ranks):
        outside, inside, after = found["empty"]
        assert outside == after == (0, 8 * count // ranks)
        assert inside == (count, 8 * count + 8 * count // ranks)
        assert len(found["checkpointed"]) == 3
        for ours, theirs in found["checkpointed"]:
            assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("ranks", COUNTS)
def test_bytes_that_travel_are_those_of_the_ring(ranks):
    """The ring counts its own messages; a collective operation is counted by the closed form."""
    share, size = (ranks - 1) / ranks, 8 * 12 * ranks
    model = work.llama(tied=False)
    weights = 8 * sum(p.numel() for p in model.parameters())
    blocks = 8 * sum(p.numel() for p in model.body.blocks.parameters())
    for found in everything(ranks):
        noted, steps, as_before = found["traffic"]
        assert as_before
        assert noted["ring"] == (2 * share * size, 2 * share * size)
        assert noted["all_reduce"][0] == noted["async"][0] == 2 * share * size
        for half in ("reduce_scatter", "all_gather", "broadcast"):
            assert noted[half][0] == share * size
        for stage, halves in ((1, 2 * weights), (3, 2 * weights + blocks)):
            assert len(steps[stage]) == 2
            for sent in steps[stage]:  # and marks, and zeros that fill up a layer
                assert share * halves <= sent < 1.03 * share * halves


@pytest.mark.parametrize("ranks", COUNTS)
def test_what_cannot_be_meant_is_refused(ranks):
    says = {
        "rows": rf"a batch of {ranks + 1} rows does not divide by {ranks} ranks", "no rows": "a batch of 0 rows",
        "no batch": "got [1, 2]", "bucket": "bucket_bytes must be at least 1", "no module": "got [1]",
        "frozen": "no parameter to train", "stage": "one of 1, 2, 3, got 4", "clip": "above 0, got 0",
        "columns": "out_features must divide", "rows of a layer": "in_features must divide",
        "words": "num_embeddings must divide", "an id": "below 24, got 24", "a target": "below 24",
        "logits": "(N, V / n)", "targets": "int64 tensor (4,)", "heads": "the heads of block 0 (1)",
        "dropout": "dropout must be 0", "no language model": "a GPT2 or a Llama, got 'Linear'",
        "stages": f"{ranks} modules, one for each rank", "schedule": "got 'zigzag'",
        "micro-batches": "8 rows does not divide by 3 micro-batches", "blocks": "the model has 4",
        "tied": "tie_word_embeddings", "contiguous": "contiguous",
    }  # fmt: skip
    for found in everything(ranks):
        said, calls = found["refused"]
        assert said.keys() == set(calls) == says.keys()
        for name, part in says.items():
            assert part in said[name], name


def test_outside_of_a_group():
    with pytest.raises(ValueError, match="run_ranks"):
        place()
    assert math.isclose(bubble(4, 1), 0.75)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: bubble(0, 1), "ranks must be at least 1, got 0"),
        (lambda: bubble(2, 0), "microbatches must be at least 1, got 0"),
        (lambda: zero_bytes(8, 0, 1), "ranks must be at least 1, got 0"),
        (lambda: zero_bytes(8, 2, 4), "stage must be one of 0, 1, 2, 3, got 4"),
        (lambda: zero_bytes("8", 2, 1), "parameters must be an integer"),
    ],
)
def test_formulas_of_nothing(call, says):
    with pytest.raises(ValueError, match=says):
        call()
