"""Threads in the compiled step: the same numbers, and nothing that hangs or stays at work, whatever goes wrong."""

import multiprocessing
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from minillm.inference import SamplingParams, fused_team, generate
from minillm.inference.fused import FusedStep
from minillm.inference.fused_team import ANEW, TRIES, Pace
from minillm.quantization import quantize
from tests.inference.test_fused import gpt2, largest_difference, llama


@pytest.fixture
def several(monkeypatch):
    """Steps run in so many threads, whatever is faster here."""

    def go(threads):
        monkeypatch.setattr(Pace, "threads", lambda self, most: threads)

    return go


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(
    "make",
    [
        lambda: llama(num_key_value_heads=2),
        lambda: llama(model_type="qwen3", head_dim=16, vocab_size=63, intermediate_size=33),
        gpt2,
        lambda: quantize(gpt2(n_inner=40), "nf4", group_size=16),
    ],
)
def test_threads_give_what_one_gives_to_the_bit(make, threads, several):
    model = make()
    found = []
    for many in (1, threads):
        several(many)
        assert largest_difference(model) < 1e-4
        cache = model.new_cache(1, 12)
        step = FusedStep.of(model, cache)
        found.append(torch.cat([step(token) for token in range(5, 15)]))
    assert torch.equal(*found)


def test_a_thread_that_fails_is_heard_of(several, monkeypatch):
    """Nobody waits for it, and the next step works."""
    model = llama()
    step = FusedStep.of(model, model.new_cache(1, 8))
    expected = step(5)
    step.cache.crop(0)
    several(3)
    own = step.run

    def broken(*given):
        if given[-1].part == 1:
            raise MemoryError("no room")
        return own(*given)

    monkeypatch.setattr(step, "run", broken)
    with pytest.raises(MemoryError, match="no room"):
        step(5)
    assert step.cache.length == 0
    monkeypatch.setattr(step, "run", own)
    assert torch.equal(step(5), expected)


def test_the_pace_tries_all_and_keeps_the_fastest():
    pace, seconds, tried = Pace(), {1: 3.0, 2: 1.8, 4: 2.0, 6: 9.0}, []
    for token in range(ANEW):
        tried.append(pace.threads(6))
        pace.took(tried[-1], seconds[tried[-1]] if token else 100.0)  # a first call is slow: it compiles
    assert tried[:10] == [1, 1, 2, 4, 6, 1, 2, 4, 1, 2]  # 6 was too slow to be tried again
    assert set(tried[3 * TRIES + 2 :]) == {2}
    pace.took(2, 1.0)
    assert [pace.threads(most) for most in (1, 2, 6)] == [1, 1, 1]  # another beginning


@pytest.mark.parametrize("inside", [1, 2])
def test_threads_that_generate_side_by_side_do_not_disturb_each_other(inside, several):
    several(inside)
    model, params = llama(), SamplingParams(max_tokens=40, temperature=0)
    expected = {prompt: generate(model, [prompt], params) for prompt in range(1, 5)}
    found = {}
    workers = [
        threading.Thread(target=lambda p=p: found.update({p: generate(model, [p], params)})) for p in expected
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert found == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_threads_of_its_own(several):
    several(2)
    model, params = llama(), SamplingParams(max_tokens=10, temperature=0)
    expected = generate(model, [1], params)
    process = multiprocessing.get_context("fork").Process(
        target=lambda: os._exit(40 + (generate(model, [1], params) == expected))
    )
    process.start()
    process.join(60)
    process.kill()
    assert process.exitcode == 41


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_that_is_forked_in_the_middle_of_a_step_does_not_wait_for_it(several):
    several(2)
    model, params = llama(), SamplingParams(max_tokens=10, temperature=0)
    expected, inside, over = generate(model, [1], params), threading.Event(), threading.Event()

    def long_step(team):
        if team.part == 0:
            inside.set()
            over.wait(60)

    other = threading.Thread(target=fused_team.run_together, args=(long_step, (), 2))
    other.start()
    inside.wait(60)
    process = multiprocessing.get_context("fork").Process(
        target=lambda: os._exit(40 + (generate(model, [1], params) == expected))
    )
    process.start()
    process.join(60)
    process.kill()
    over.set()
    other.join(60)
    assert process.exitcode == 41


@pytest.mark.parametrize("more", [0, 1])
def test_one_thread_does_it_all_where_no_other_is_to_be_had(more, several, monkeypatch):
    """As at the end of a program, when the main thread is done and another one still writes."""
    model, params = llama(), SamplingParams(max_tokens=10, temperature=0)
    expected, own, asked = generate(model, [1], params), ThreadPoolExecutor.submit, []

    def refused(pool, *given):
        asked.append(given)
        if len(asked) % (more + 1) == 0:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        return own(pool, *given)

    several(3)
    monkeypatch.setattr(ThreadPoolExecutor, "submit", refused)
    assert generate(model, [1], params) == expected
    assert len(asked) == 9 * (more + 1)


def test_nobody_is_at_work_any_more_after_an_interruption():
    """What the others write to may be gone then."""
    done = []

    def step(team):
        if team.part == 0:
            raise KeyboardInterrupt
        time.sleep(0.1)
        done.append(team.part)

    with pytest.raises(KeyboardInterrupt):
        fused_team.run_together(step, (), 3)
    found = list(done)
    time.sleep(0.3)
    assert done == found  # whoever had begun was waited for, whoever had not does not begin


def test_an_error_of_the_step_is_not_taken_for_a_want_of_threads():
    def step(team):
        raise RuntimeError(f"thread {team.part} of {team.parts}")

    with pytest.raises(RuntimeError, match=r"of 2$"):
        fused_team.run_together(step, (), 2)


def test_threads_may_share_a_pace():
    pace, errors = Pace(), []

    def go():
        try:
            for _ in range(20_000):
                pace.took(pace.threads(6), 1.0)
        except Exception as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        workers = [threading.Thread(target=go) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert not errors
