"""A process killed at any moment (SIGKILL: nothing of ours runs after it) leaves whole files, the old or the new."""

import os
import random
import signal
import sys
import time

import numpy as np
import pytest

from minillm.course.classroom.limits import own_progress_lock
from minillm.search import BM25, ExactIndex
from minillm.training import EarlyStoppingCallback, checkpoints
from tests.helpers import soak_count
from tests.training.classifier import bits, classes, classifier_run
from tests.training.test_trainer import same, trainer

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not hasattr(os, "fork"), reason=f"{sys.platform} has no fork"),
]


def killed(work, seconds):
    """Run work() in a forked child and kill it after so many seconds; True if it was still at work."""
    child = os.fork()
    if child == 0:
        try:
            own_progress_lock()
            work()
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def indexes():
    """Two indexes of each kind, (save, load, answers of both), whose files differ in every array."""
    exact = [ExactIndex(8), ExactIndex(8)]
    for index, rows in zip(exact, (300, 500), strict=True):
        index.add(np.random.default_rng(rows).normal(size=(rows, 8)))
    words = [
        BM25(tokenizer=str.split).fit(["a b", "b c"] * 200),
        BM25(tokenizer=str.split).fit(["c d e"] * 300),
    ]
    return [
        (exact, ExactIndex.load, len),
        (words, lambda path: BM25.load(path, str.split), len),
    ]


@pytest.mark.parametrize("kind", [0, 1], ids=["exact", "bm25"])
def test_a_killed_save_leaves_one_of_the_two_indexes(tmp_path, kind):
    pair, load, answer = indexes()[kind]
    path = pair[0].save(tmp_path / "index")
    rng, at_work, seen = random.Random(kind), 0, set()

    def save_in_turn():
        for number in range(10_000):
            pair[number % 2].save(path)

    for _ in range(soak_count(1000)):
        at_work += killed(save_in_turn, rng.uniform(0.001, 0.02))
        seen.add(answer(load(path)))
        assert seen <= {answer(one) for one in pair}
    assert at_work > 0


def test_a_killed_training_goes_on_from_its_last_whole_checkpoint(tmp_path):
    settings = {"max_steps": 40, "checkpoint_every": 1, "keep_last": 2}
    straight = trainer(max_steps=40)
    straight.train()
    rng, at_work = random.Random(0), 0
    for number in range(soak_count(100)):
        folder = tmp_path / str(number)
        work = trainer(checkpoint_folder=folder, **settings)
        at_work += killed(work.train, rng.uniform(0.02, 0.4))
        found = checkpoints(folder) if folder.exists() else []
        resumed = trainer(checkpoint_folder=folder, **settings)
        resumed.train(resume_from_checkpoint=True)
        assert same(straight.model, resumed.model), f"killed with {[path.name for path in found]}"
    assert at_work > 0


def test_a_run_of_epochs_killed_again_and_again_is_the_unbroken_one(tmp_path):
    """Killed and resumed in the same folder until it is done: weights, order of the data, best metric, counters."""
    settings = {
        "eval_rows": classes(20, seed=1), "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1,
        "num_train_epochs": 6, "per_device_train_batch_size": 16, "load_best_model_at_end": True,
        "metric_for_best_model": "loss", "logging_steps": 3, "save_total_limit": 2, "warmup_ratio": 0.2,
    }  # fmt: skip

    def run(folder):
        return classifier_run(folder, callbacks=[EarlyStoppingCallback(4, 0.003)], **settings)

    unbroken = run(tmp_path / "unbroken")
    unbroken.train()
    expected, rng, kills = bits(unbroken), random.Random(1), 0
    for number in range(soak_count(100)):
        folder = tmp_path / str(number)
        for _ in range(4):
            kills += killed(lambda: run(folder).train(resume_from_checkpoint=True), rng.uniform(0.02, 0.5))  # noqa: B023
        resumed = run(folder)
        resumed.train(resume_from_checkpoint=True)
        assert bits(resumed) == expected
    assert kills > 0
