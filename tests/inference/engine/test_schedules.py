"""Whatever comes and goes, every text is what it would be alone, every block comes back, nobody is passed by."""

import pytest

from tests.helpers import soak_count
from tests.inference.engine.schedules import run_schedule
from tests.inference.test_generation_loop import gpt2, llama


@pytest.fixture(scope="module")
def models():
    return [llama(), gpt2()]


@pytest.mark.parametrize("batching", ["continuous", "static", "dynamic"])
def test_every_text_is_what_it_would_be_alone(models, batching):
    preempted = 0
    for seed in range(14):
        began, stats = run_schedule(models[seed % 2], seed, batching)
        preempted += stats["preemptions"]
        # within a wave, who has one token left to read is written beside those who read on
        assert batching != "continuous" or began == sorted(began), "first come, first served"
    assert (preempted > 0) == (batching == "continuous"), "only a continuous batch takes blocks back"


@pytest.mark.soak
def test_ten_thousand_schedules(models):
    for seed in range(100, 100 + soak_count(10_000)):
        batching = ("continuous", "continuous", "static", "dynamic")[seed % 4]
        began, _ = run_schedule(models[seed // 4 % 2], seed, batching)
        assert batching != "continuous" or began == sorted(began), (
            f"schedule {seed}: first come, first served"
        )
