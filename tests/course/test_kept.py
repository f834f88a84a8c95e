"""What is kept: built once by many who ask at once, whole or not at all, built again when it is damaged."""

import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from minillm._files import BadFileError, read_json, write_json
from minillm.course.kept import kept, kept_folder, key_of


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path))
    return tmp_path


def builder(calls, value=1):
    def build(folder):
        calls.append(value)
        write_json(folder / "value.json", value)

    return build


def load(folder):
    return read_json(folder / "value.json")


def test_it_is_built_once_and_rebuilt_when_asked():
    calls = []
    assert kept("thing", "a", builder(calls), load) == kept("thing", "a", builder(calls, 2), load) == 1
    assert calls == [1]
    assert kept("thing", "a", builder(calls, 3), load, rebuild=True) == 3
    assert kept("thing", "b", builder(calls, 4), load) == 4, "another key is another folder"
    assert kept("thing", "a", builder(calls, 5), load) == 3


def test_a_damaged_folder_is_built_again_once(cache):
    calls = []
    kept("thing", "a", builder(calls), load)
    (kept_folder("thing", "a") / "value.json").write_text("{")
    assert kept("thing", "a", builder(calls, 2), load) == 2

    def never(folder):
        raise BadFileError("never right")

    with pytest.raises(BadFileError, match="never right"):
        kept("thing", "a", builder(calls, 3), never)
    assert calls == [1, 2, 3]


def test_a_failed_build_leaves_what_was_there_and_nothing_else(cache):
    kept("thing", "a", builder([]), load)

    def fail(folder):
        (folder / "half").write_text("half")
        raise KeyError("stop")

    with pytest.raises(KeyError):
        kept("thing", "a", fail, load, rebuild=True)
    assert kept("thing", "a", fail, load) == 1
    assert sorted(path.name for path in (cache / "models").iterdir() if path.is_dir()) == ["thing-a"]


def slow_build(folder):
    with open(os.environ["BUILDS"], "a") as file:
        file.write("x")
    time.sleep(0.5)
    write_json(folder / "value.json", os.getpid())


def ask(queue):
    queue.put(kept("thing", "a", slow_build, load))


def test_of_three_processes_at_once_one_builds_and_all_get_it(cache, monkeypatch):
    monkeypatch.setenv("BUILDS", str(cache / "builds"))
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=ask, args=(queue,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    answers = {queue.get(timeout=120) for _ in workers}
    for worker in workers:
        worker.join(60)
    assert len(answers) == 1
    assert (cache / "builds").read_text() == "x"


HOLDER = """
import sys, time
from minillm.course.kept import kept
def build(folder):
    (folder / "half").write_text("half")
    print("building", flush=True)
    time.sleep(600)
kept("thing", "a", build, lambda folder: None)
"""


def test_who_waits_has_a_deadline_and_a_dead_builder_blocks_nobody(cache):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "building\n"
        with pytest.raises(TimeoutError, match=r"another process has been making thing for 0\.2 s"):
            kept("thing", "a", builder([]), load, deadline=0.2)
    finally:
        holder.kill()
        holder.wait(60)
        holder.stdout.close()
    assert kept("thing", "a", builder([]), load, deadline=30) == 1
    assert not list((cache / "models").glob(".thing-*.part")), "the dead builder's folder is removed"


def test_the_key_changes_with_every_part():
    keys = {key_of(), key_of(1), key_of("1"), key_of(1, 2), key_of((1, 2))}
    assert len(keys) == 5
    assert all(len(key) == 12 for key in keys)


@pytest.mark.parametrize("deadline", [-1, None, float("nan")])
def test_a_bad_deadline_is_refused(deadline):
    with pytest.raises(ValueError, match="deadline"):
        kept("thing", "a", builder([]), load, deadline=deadline)
