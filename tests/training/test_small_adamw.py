"""AdamW with averages of 8 bits, and with averages on disk: against AdamW itself, and against each other."""

import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from minillm.quantization import dynamic_codebook
from minillm.training import AdamW, AdamW8bit, PagedAdamW, Trainer, TrainingArguments
from minillm.training.adamw8bit import SMALL, zero_codes
from minillm.training.paged import PAGE, Pages
from tests.training.toy import COUNTING, ToyLM

SETTINGS = {"lr": 1e-2, "betas": (0.9, 0.99), "weight_decay": 0.1}


def weights(seed=0, shapes=((70, 80), (64,), (3, 4000)), dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


def steps(make, count=6, **how):
    """The weights after some updates by random gradients, and the optimiser."""
    params, generator = weights(**how), torch.Generator().manual_seed(1)
    optimizer = make(params)
    for _ in range(count):
        for p in params:
            p.grad = (
                torch.randn(p.shape, generator=generator) * torch.linspace(1e-6, 1, p.numel()).view(p.shape)
            ).to(p.dtype)
        optimizer.step()
    return params, optimizer


def test_the_codebook_without_signs_by_hand():
    codebook = dynamic_codebook(signed=False)
    assert len(codebook) == 256
    assert (codebook.diff() > 0).all()
    assert codebook[0] == 0
    assert codebook[-1] == 1
    # two steps of the smallest power: .1 to .55 and .55 to 1 millionths
    assert codebook[1:3].tolist() == pytest.approx([0.325e-6, 0.775e-6])
    # the largest below 1: the middle of the last of 128 steps
    assert codebook[-2].item() == pytest.approx(1 - 0.9 / 128 / 2)


def test_8_bits_take_a_quarter_of_the_bytes_and_stay_close():
    exact, full = steps(lambda p: AdamW(p, **SETTINGS))
    found, small = steps(lambda p: AdamW8bit(p, **SETTINGS))
    start = weights()
    for a, b, c in zip(exact, found, start):
        moved = (a - c).abs().mean()
        assert (a - b).abs().mean() < (0.06 * moved if a.numel() >= SMALL else 1e-9)
    sizes = [
        sum(
            t.numel() * t.element_size()
            for s in one.state_dict()["state"].values()
            for t in s.values()
            if torch.is_tensor(t)
        )
        for one in (full, small)
    ]
    numbers = sum(p.numel() for p in exact if p.numel() >= SMALL)
    blocks = sum(-(-p.numel() // 256) for p in exact if p.numel() >= SMALL)
    assert sizes == [8 * (numbers + 64), 2 * (numbers + 4 * blocks) + 8 * 64]


def test_small_parameters_are_updated_as_by_adamw():
    exact, _ = steps(lambda p: AdamW(p, **SETTINGS), shapes=((SMALL - 1,), (2, 2)))
    found, _ = steps(lambda p: AdamW8bit(p, **SETTINGS), shapes=((SMALL - 1,), (2, 2)))
    assert all(torch.equal(a, b) for a, b in zip(exact, found))


@pytest.mark.parametrize("bits", [32, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_paged_weights_are_the_unpaged_ones_bit_for_bit(monkeypatch, bits, dtype):
    monkeypatch.setattr("minillm.training.paged.PAGE", 1024)
    unpaged = AdamW if bits == 32 else AdamW8bit
    exact, one = steps(lambda p: unpaged(p, **SETTINGS), dtype=dtype)
    budget = 20_000
    found, paged = steps(lambda p: PagedAdamW(p, **SETTINGS, bits=bits, budget=budget), dtype=dtype)
    assert all(torch.equal(a, b) for a, b in zip(exact, found))
    pages = paged.pages
    assert pages.most_resident <= budget < pages.total_bytes
    assert pages.reads > 0
    assert pages.writes > 0
    mine, theirs = paged.state_dict(), one.state_dict()
    assert mine["param_groups"] == theirs["param_groups"]
    for index, state in theirs["state"].items():
        assert mine["state"][index].keys() == state.keys()
        for name, value in state.items():
            assert torch.equal(torch.as_tensor(mine["state"][index][name]), torch.as_tensor(value))


def test_a_parameter_that_does_not_lie_in_a_row_is_updated_too():
    found = []
    for make in (AdamW, AdamW8bit, PagedAdamW):
        parameter = torch.nn.Parameter(torch.arange(12.0).view(3, 4).T)
        parameter.grad = torch.ones(4, 3)
        make([parameter], **SETTINGS).step()
        found.append(parameter.detach())
    assert not found[0].is_contiguous()
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("bits", [32, 8])
def test_states_go_from_paged_to_unpaged_and_back(monkeypatch, bits):
    monkeypatch.setattr("minillm.training.paged.PAGE", 512)
    unpaged = AdamW if bits == 32 else AdamW8bit
    _, first = steps(lambda p: PagedAdamW(p, **SETTINGS, bits=bits, budget=9_000), count=3)
    second, third = (make(weights()) for make in (
        lambda p: unpaged(p, **SETTINGS), lambda p: PagedAdamW(p, **SETTINGS, bits=bits, budget=9_000)))  # fmt: skip
    second.load_state_dict(first.state_dict())
    third.load_state_dict(second.state_dict())
    saved = [one.state_dict()["state"] for one in (first, second, third)]
    for index, state in saved[0].items():
        for other in saved[1:]:
            assert all(
                torch.equal(torch.as_tensor(other[index][k]), torch.as_tensor(v)) for k, v in state.items()
            )


def test_a_state_of_other_bits_is_refused_and_changes_nothing():
    _, full = steps(lambda p: AdamW(p, **SETTINGS), count=1)
    _, small = steps(lambda p: AdamW8bit(p, **SETTINGS), count=1)
    _, paged = steps(lambda p: PagedAdamW(p, **SETTINGS), count=1)
    for one, other in ((full, small), (small, full), (paged, small)):
        before = {k: dict(v) for k, v in one.state_dict()["state"].items()}
        with pytest.raises(ValueError, match="parameter 0"):
            one.load_state_dict(other.state_dict())
        after = one.state_dict()["state"]
        assert all(
            torch.equal(torch.as_tensor(after[k][n]), torch.as_tensor(v))
            for k, s in before.items()
            for n, v in s.items()
        )


# --- pages -----------------------------------------------------------------------------------------------------------


def test_pages_against_plain_arrays():
    rng, pages, plain = np.random.default_rng(0), Pages(budget=1000), {}
    for size in (100, 300, 400, 7, 1000, 256, 256):
        plain[pages.new(size)] = np.zeros(size, np.uint8)
    for _ in range(300):
        number = int(rng.integers(len(plain)))
        page = pages[number]
        assert np.array_equal(page, plain[number])
        page[:] = plain[number] = rng.integers(0, 256, len(page), dtype=np.uint8)
        assert pages.resident_bytes <= 1000
        assert pages.most_resident <= 1000
    assert pages.total_bytes == sum(map(len, plain.values()))
    pages.close()
    assert pages.resident_bytes == 0
    pages.close()


def test_the_least_recently_used_page_leaves():
    pages = Pages(budget=30)
    a, b, c, d = (pages.new(10) for _ in range(4))
    for number in (a, b, c, a, d):  # b is the one that nobody has asked for since
        pages[number]
    assert pages.reads == 0
    pages[a], pages[c], pages[d]
    assert pages.reads == 0
    pages[b]
    assert (pages.reads, pages.writes) == (1, 2)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: Pages(budget=0), "budget"), (lambda: Pages(budget=10).new(11), "the budget is 10"),
    (lambda: Pages(folder=3), "folder"), (lambda: PagedAdamW(weights(), bits=16), "bits"),
    (lambda: PagedAdamW(weights(), budget=100), "at least one page"), (lambda: PagedAdamW([]), "at least one"),
    (lambda: AdamW8bit(weights(), lr=-1), "lr"),
])  # fmt: skip
def test_bad_settings(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes a file when it is closed, and has no such kill")
@pytest.mark.soak  # a process of its own
def test_no_file_is_left_behind_even_by_a_process_that_is_killed(tmp_path):
    code = (
        "import os, sys; from minillm.training.paged import Pages\n"
        "pages = Pages(10, sys.argv[1]); two = [pages.new(8), pages.new(8)]\n"
        "[pages[number] for number in two]; assert pages.writes == 1; os._exit(9)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, timeout=120)
    assert run.returncode == 9, run.stderr.decode()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("optim", ["adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit"])
def test_the_trainer_takes_them_by_name_and_resumes(tmp_path, optim):
    def run(folder, resume=None):
        args = TrainingArguments(str(folder), max_steps=4, save_steps=2, context_length=9, optim=optim,
                                 per_device_train_batch_size=4, disable_tqdm=True, learning_rate=1e-2)  # fmt: skip
        model = ToyLM(width=40)  # its cell has 4,800 numbers in one matrix
        Trainer(model, args, train_dataset=COUNTING).train(resume)
        return model.state_dict()

    whole = run(tmp_path)
    again = run(tmp_path, str(tmp_path / "checkpoint-2"))
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_step_that_is_not_good_changes_nothing():
    for make in (AdamW8bit, PagedAdamW):
        params, optimizer = steps(lambda p, make=make: make(p, **SETTINGS), count=2)
        before = [p.detach().clone() for p in params]
        optimizer.step(torch.tensor(False))
        assert all(torch.equal(a, b) for a, b in zip(before, params))
        assert {state["step"] for state in optimizer.state.values()} == {3}
        optimizer.uncount(1)
        assert {state["step"] for state in optimizer.state.values()} == {2}


@pytest.mark.parametrize("make", [AdamW8bit, PagedAdamW, lambda p, **s: PagedAdamW(p, bits=8, **s)])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1e30])
def test_a_gradient_that_no_code_can_hold_changes_nothing(make, number):
    params, optimizer = steps(lambda p: make(p, **SETTINGS), count=2)
    before, state = [p.detach().clone() for p in params], optimizer.state_dict()["state"]
    for parameter in params:
        parameter.grad = torch.ones_like(parameter)
    params[-1].grad.view(-1)[-1] = number
    with pytest.raises(ValueError, match="gradients must be numbers below 1e"):
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, params))
    for index, after in optimizer.state_dict()["state"].items():
        assert all(
            torch.equal(torch.as_tensor(after[k]), torch.as_tensor(v)) for k, v in state[index].items()
        )


def test_loaded_again_and_again_the_file_does_not_grow():
    _, optimizer = steps(lambda p: PagedAdamW(p, **SETTINGS), count=1)
    state, size = optimizer.state_dict(), optimizer.pages.total_bytes
    bad = copy.deepcopy(state)
    bad["state"][0]["m"] = torch.zeros(3)
    for _ in range(2):
        optimizer.load_state_dict(state)
        with pytest.raises(ValueError, match="parameter 0"):
            optimizer.load_state_dict(bad)
        assert optimizer.pages.total_bytes == size
    assert all(
        torch.equal(v, optimizer.state_dict()["state"][0][k])
        for k, v in state["state"][0].items()
        if k != "step"
    )


def test_an_average_of_zeros_stays_zeros():
    coded = zero_codes(300, torch.device("cpu"))
    assert (coded.open("m") == 0).all()
    assert (coded.open("v") == 0).all()
    coded.close("v", torch.zeros(300))
    assert (coded.open("v") == 0).all()
    assert PAGE % 256 == 0


def test_a_page_that_is_none_is_said_and_so_is_one_after_close():
    pages = Pages(budget=8)
    number = pages.new(4)
    pages[number][:] = 7
    for wrong in (-1, 1, "a"):
        with pytest.raises(ValueError, match="there is no page"):
            pages[wrong]
    assert pages.resident == (number,)
    pages.close()
    with pytest.raises(ValueError, match="there is no page 0, there are 0"):
        pages[number]


@pytest.mark.parametrize("fit", [1, 3, 7, 8])
def test_a_step_reads_the_pages_that_do_not_fit_and_no_other(fit):
    """Eight pages, walked there and back; in one direction each time all eight would be read, however many fit."""
    sizes = [(3 * PAGE,), (2 * PAGE,), (PAGE,), (2 * PAGE,)]
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in sizes]
    optimizer = PagedAdamW(params, budget=fit * 8 * PAGE)
    reads = []
    for _ in range(4):
        for p in params:
            p.grad = torch.ones_like(p)
        before = optimizer.pages.reads
        optimizer.step()
        reads.append(optimizer.pages.reads - before)
    assert reads == [0] + [8 - fit] * 3  # the first step makes the pages
    assert len(optimizer.pages.resident) == fit
