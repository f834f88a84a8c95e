"""What the exercises of lesson 08_1 expect is what the engine does."""

import numpy as np

from minillm.course.classroom.exercises import lesson_08_1
from minillm.inference import Engine
from minillm.inference.engine.trace import Arrival, replay
from tests.inference.test_generation_loop import llama


def test_the_expected_schedule_computes_what_the_engine_computes():
    model = llama()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        steps, prompts, new = rng.integers(0, 5, 9).cumsum(), rng.integers(1, 12, 9), rng.integers(1, 8, 9)
        slots = int(rng.integers(1, 5))
        budget = slots + int(rng.integers(0, 9))
        trace = [Arrival(int(s), [1] * int(p), int(n)) for s, p, n in zip(steps, prompts, new)]
        engine = Engine(model, max_batch_size=slots, max_batch_tokens=budget, prefix_caching=False)
        expected = lesson_08_1.schedule(
            [(one.step, len(one.prompt), one.new_tokens) for one in trace], slots, budget
        )
        assert replay(engine, trace).tokens == [sum(step.values()) for step in expected]


def test_seats_are_those_of_the_engine():
    model = llama()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        steps, new = rng.integers(0, 6, 12).cumsum().tolist(), rng.integers(1, 15, 12).tolist()
        trace = [Arrival(step, [1], n) for step, n in zip(steps, new)]
        found = replay(Engine(model, max_batch_size=3, prefix_caching=False), trace)
        began = [step + wait for step, wait in zip(steps, found.in_line)]
        assert began == lesson_08_1.seats(steps, new, 3)
