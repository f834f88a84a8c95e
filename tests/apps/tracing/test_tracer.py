"""Spans: parents across calls, threads, tasks and streams; values; errors; what a tracer never does to its program."""

import asyncio
import gc
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from minillm._files import BadFileError
from minillm.apps.tracing import Tracer, read_trace


@pytest.fixture
def tracer(tmp_path):
    with Tracer(tmp_path / "run.jsonl") as tracer:
        yield tracer


def parents(tracer):
    """{name: name of its parent}"""
    records = tracer.read().records
    names = {one.span_id: one.name for one in records}
    assert len(names) == len(records)
    return {one.name: names.get(one.parent_id) for one in records}


def test_children_find_their_parent_and_end_before_it(tracer):
    with tracer.trace("a"):
        with tracer.trace("b"), tracer.trace("c"):
            pass
        with tracer.trace("d"):
            pass
    with tracer.trace("e"):
        pass
    assert parents(tracer) == {"a": None, "b": "a", "c": "b", "d": "a", "e": None}
    records = {one.name: one for one in tracer.read().records}
    assert records["a"].trace_id == records["c"].trace_id != records["e"].trace_id
    assert (
        records["a"].start <= records["b"].start <= records["c"].start <= records["c"].end <= records["b"].end
    )
    assert [one.name for one in tracer.read().records] == ["c", "b", "d", "a", "e"]  # as they ended


def test_a_function_keeps_its_face_and_leaves_its_arguments(tracer):
    @tracer.trace
    def add(a, b=2, *more, c=0):
        """Adds."""
        return a + b + sum(more) + c

    assert add(1, c=5) == 8
    assert add(1, 2, 3, 4) == 10
    assert (add.__name__, add.__doc__) == ("add", "Adds.")
    found = [one.attributes for one in tracer.read().records]
    assert [one["input.value"] for one in found] == [{"a": 1, "c": 5}, {"a": 1, "b": 2, "more": [3, 4]}]
    assert [one["output.value"] for one in found] == [8, 10]
    with pytest.raises(TypeError, match="missing 1 required positional"):
        add()
    assert tracer.read().records[-1].status == "error"


def test_methods_and_recursion(tracer):
    class Shop:
        @tracer.trace("price", kind="client", shop="램프")
        def price(self, name):
            return 1 if name == "x" else 1 + self.price("x")

        @staticmethod
        @tracer.trace
        def opened():
            return True

    assert Shop().price("lamp") == 2
    assert Shop.opened()
    inner, outer, _ = tracer.read().records
    assert inner.parent_id == outer.span_id
    assert outer.attributes["input.value"] == {"name": "lamp"}
    assert (outer.kind, outer.attributes["shop"]) == ("client", "램프")


def test_tasks_of_asyncio_do_not_mix(tracer):
    @tracer.trace
    async def step(name):
        with tracer.trace(f"{name}-1"):
            await asyncio.sleep(0.001)
        return name

    @tracer.trace
    async def both():
        return await asyncio.gather(*(step(f"task{i}") for i in range(5)))

    assert asyncio.run(both()) == [f"task{i}" for i in range(5)]
    records = {one.span_id: one for one in tracer.read().records}
    steps = [one for one in records.values() if one.name.startswith("task")]
    assert len(steps) == 5
    for one in steps:
        above = records[one.parent_id]
        assert above.attributes["input.value"]["name"] == one.name[:-2]
        assert records[above.parent_id].name.endswith("both")


def test_threads_have_their_own_spans_and_carry_hands_over(tracer):
    def work(i):
        with tracer.trace(f"work{i}") as span:
            assert tracer.open_span is span
            with tracer.trace(f"part{i}"):
                pass

    with tracer.trace("all"), ThreadPoolExecutor(4) as pool:
        list(pool.map(tracer.carry(work), range(20)))
        list(pool.map(work, range(20, 30)))
    found = parents(tracer)
    assert len(found) == 61
    assert {found[f"work{i}"] for i in range(20)} == {"all"}
    assert {found[f"work{i}"] for i in range(20, 30)} == {None}
    assert all(found[f"part{i}"] == f"work{i}" for i in range(30))


def test_many_threads_lose_and_mix_nothing(tracer):
    def work(thread):
        for i in range(50):
            with tracer.trace("one", thread=thread, i=i, text="글" * 500):
                pass

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    found = tracer.read()
    assert (len(found.records), found.damaged, tracer.lost) == (400, 0, 0)
    assert {(one.attributes["thread"], one.attributes["i"]) for one in found.records} == {
        (n, i) for n in range(8) for i in range(50)
    }


def pieces_of(tracer):
    @tracer.trace("stream")
    def stream(count, fail=False):
        for i in range(count):
            with tracer.trace(f"make{i}"):
                pass
            yield f"조각{i} "
        if fail:
            raise ConnectionError("the line is cut")
        return count

    return stream


def test_a_stream_is_one_span_from_the_first_piece_to_the_last(tracer):
    for piece in pieces_of(tracer)(3):
        with tracer.trace(f"reader of {piece.strip()}"):
            pass
    found = parents(tracer)
    assert {found[f"make{i}"] for i in range(3)} == {"stream"}
    assert {found[f"reader of 조각{i}"] for i in range(3)} == {None}  # the reader is no part of the stream
    span = tracer.read().records[-1]
    assert (span.name, span.status) == ("stream", "ok")
    assert span.attributes["output.value"] == "조각0 조각1 조각2 "
    assert span.attributes["minillm.pieces"] == 3
    assert 0 <= span.attributes["gen_ai.response.time_to_first_chunk"] <= span.seconds


def test_streams_that_fail_are_closed_or_dropped(tracer):
    stream = pieces_of(tracer)
    with pytest.raises(ConnectionError):
        list(stream(2, fail=True))
    closed = stream(9)
    next(closed)
    closed.close()
    dropped = stream(9)
    next(dropped)
    del dropped
    gc.collect()
    never = stream(9)
    del never
    failed, early, gone = [one for one in tracer.read().records if one.name == "stream"]
    assert (failed.status, failed.attributes["error.type"]) == ("error", "ConnectionError")
    assert failed.attributes["output.value"] == "조각0 조각1 "
    for one in (early, gone):
        assert (one.status, one.attributes["minillm.closed_early"], one.attributes["minillm.pieces"]) == (
            "ok",
            True,
            1,
        )
    assert tracer.open_span is None


def test_a_generator_is_sent_to_and_thrown_into_as_before(tracer):
    @tracer.trace
    def talk():
        heard = []
        while len(heard) < 3:
            try:
                heard.append((yield len(heard)))
            except KeyError as error:
                heard.append(str(error))
        return heard

    one = talk()
    assert next(one) == 0
    assert one.send("a") == 1
    assert one.throw(KeyError("b")) == 2
    with pytest.raises(StopIteration) as end:
        one.send("c")
    assert end.value.value == ["a", "'b'", "c"]
    other = talk()
    next(other)
    with pytest.raises(OSError, match="no"):
        other.throw(OSError("no"))
    assert [one.status for one in tracer.read().records] == ["ok", "error"]


def test_an_asynchronous_stream(tracer):
    @tracer.trace("stream")
    async def stream(fail):
        for i in range(2):
            with tracer.trace(f"make{i}"):
                await asyncio.sleep(0)
            yield str(i)
        if fail:
            raise ValueError("no more")

    async def read(fail, most):
        found, pieces = [], stream(fail)
        async for piece in pieces:
            with tracer.trace("reader"):
                found.append(piece)
            if len(found) == most:
                break
        await pieces.aclose()
        return found

    assert asyncio.run(read(False, 9)) == ["0", "1"]
    assert asyncio.run(read(False, 1)) == ["0"]
    with pytest.raises(ValueError, match="no more"):
        asyncio.run(read(True, 9))
    streams = [one for one in tracer.read().records if one.name == "stream"]
    assert [one.attributes["minillm.pieces"] for one in streams] == [2, 1, 2]
    assert [one.status for one in streams] == ["ok", "ok", "error"]
    readers = [one for one in tracer.read().records if one.name == "reader"]
    assert {one.parent_id for one in readers} == {None}


def test_an_error_is_noted_and_passed_on(tracer):
    class Refused(RuntimeError):
        pass

    with pytest.raises(Refused, match="아니요"), tracer.trace("outer"), tracer.trace("inner"):
        raise Refused("아니요")
    with pytest.raises(KeyboardInterrupt), tracer.trace("stopped"):
        raise KeyboardInterrupt
    inner, outer, stopped = tracer.read().records
    for one in (inner, outer):
        assert (one.status, one.message) == ("error", "아니요")
        assert one.attributes["error.type"].endswith("Refused")
        assert "test_tracer.py:" in one.attributes["minillm.raised_at"]
    assert stopped.attributes["error.type"] == "KeyboardInterrupt"
    assert tracer.open_span is None


class Bad:
    """An object of which everything fails."""

    @property
    def shape(self):
        raise RuntimeError("no shape")

    def __repr__(self):
        raise RuntimeError("no repr")

    __str__ = __repr__


class BadError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def test_no_value_is_an_error(tracer):
    ring = []
    ring.append(ring)
    deep = current = {}
    for _ in range(5000):
        current["x"] = current = {}
    values = [
        Bad(), ring, deep, float("nan"), float("inf"), 10**50, b"bytes", "\ud800 half", {1: 2, None: 3, "a": {4}},
        object, "길" * 50_000, list(range(10**6)), {"k" * 5000: 1}, lambda: 1, iter([1]), 1 + 2j,
        memoryview(b"x"), True, None,
    ]  # fmt: skip
    for value in values:
        with tracer.trace("one", value=value) as span:
            span.set("same", value).event("told", value=value)
    with pytest.raises(BadError), tracer.trace("error"):
        raise BadError
    found = tracer.read()
    assert (len(found.records), found.damaged, tracer.lost) == (len(values) + 1, 0, 0)
    kept = [one.attributes["value"] for one in found.records[:-1]]
    assert kept[3:6] == ["nan", "inf", hex(10**50)]
    assert kept[7] == "\ud800 half"
    assert kept[8] == {"1": 2, "None": 3, "a": [4]}
    assert kept[10].startswith("길" * 10_000 + "... (40,000 more characters)")
    assert kept[11][-1] == "... 998001 more"
    assert all(len(str(one)) < 80_000 for one in kept)


def test_tensors_and_arrays_are_described_and_single_numbers_kept(tracer):
    np = pytest.importorskip("numpy")
    with tracer.trace("one", a=np.zeros((2, 3)), b=np.float32(0.5), c=np.int64(7)):
        pass
    found = tracer.read().records[0].attributes
    assert found == {"a": "ndarray of shape (2, 3) and dtype float64", "b": 0.5, "c": 7}


def test_a_full_disk_does_not_stop_the_program(tracer, monkeypatch):
    def full(line):
        raise OSError(28, "No space left on device")

    with tracer.trace("before"):
        pass
    monkeypatch.setattr(tracer._file, "append", full)
    with tracer.trace("lost") as span:
        span.set("x", 1)
    monkeypatch.undo()
    with tracer.trace("after"):
        pass
    assert tracer.lost == 1
    assert "No space left" in tracer.why
    assert [one.name for one in tracer.read().records] == ["before", "after"]


def test_after_the_end_nothing_changes(tracer):
    with tracer.trace("one") as span:
        span.set("x", 1)
    span.set("x", 2)
    span.end()
    assert [one.attributes for one in tracer.read().records] == [{"x": 1}]
    scope = tracer.trace("two")
    with scope:
        pass
    with pytest.raises(ValueError, match="'two' was opened already"), scope:
        pass
    tracer.close()
    with tracer.trace("late"):
        pass
    assert tracer.lost == 1


def test_without_content_names_times_and_tokens_stay(tmp_path):
    tracer = Tracer(tmp_path / "run.jsonl", content=False)

    @tracer.trace
    def answer(question):
        tracer.open_span.tokens(5, 6).content("memo", question)
        raise ValueError(question)

    with pytest.raises(ValueError, match="who is"):
        answer("who is Kim?")
    assert "Kim" not in (tmp_path / "run.jsonl").read_text("utf-8")
    [record] = tracer.read().records
    assert record.attributes["gen_ai.usage.input_tokens"] == 5
    assert record.attributes["error.type"] == "ValueError"


def test_two_tracers_do_not_take_each_others_children():
    one, other = Tracer(), Tracer()
    with one.trace("a"), other.trace("b"), one.trace("c"), other.trace("d"):
        pass
    assert parents(one) == {"a": None, "c": "a"}
    assert parents(other) == {"b": None, "d": "b"}


def test_a_seed_and_a_clock_make_the_same_trace():
    def run():
        tracer = Tracer(seed=3, clock=iter(range(0, 10**9, 1000)).__next__)
        with tracer.trace("a"), tracer.trace("b", n=1):
            pass
        return tracer.kept

    assert run() == run()
    assert [(one.start, one.end) for one in run()] == [(1000, 2000), (0, 3000)]


def test_a_failure_that_is_told_and_a_name_that_is_no_text_break_nothing(tracer):
    with tracer.trace("a") as span:
        span.fail("no such plan: sk-abcdefghijklmnop1234").set(3, "three").set((1, 2), "a pair").set(
            None, "none"
        )
        span.set(("api_key", 1), "x")
    with tracer.trace("b") as span:
        span.fail(404)
    told, number = tracer.read().records
    assert tracer.lost == 0
    assert (told.status, told.message) == ("error", "no such plan: [masked]")
    assert told.attributes["error.type"] == "_OTHER"  # OpenTelemetry's word for an error without a type
    assert all(isinstance(name, str) for name in told.attributes)
    assert {"3", "None"} < set(told.attributes)
    assert (number.status, number.message) == ("error", "404")


def test_bad_arguments_are_refused_at_once(tmp_path, tracer):
    for call, said in [
        (lambda: Tracer(""), "path must be a path"),
        (lambda: Tracer(limit=0), "limit must be at least 1"),
        (lambda: Tracer(content=1), "content must be True or False"),
        (lambda: tracer.trace(3), "name must be a str"),
        (lambda: tracer.trace("x", kind="server"), "kind must be one of"),
        (lambda: tracer.carry(3), "carry takes a function"),
    ]:
        with pytest.raises(ValueError, match=said):
            call()
    with pytest.raises(OSError, match="director"):
        Tracer(tmp_path)


# --- the file ---


def test_half_lines_are_counted_and_swallow_nothing(tmp_path):
    path = tmp_path / "run.jsonl"
    with Tracer(path) as tracer:
        for i in range(3):
            with tracer.trace(f"span{i}", text='{"trace_id":"x"'):
                pass
    lines = path.read_bytes().splitlines(keepends=True)
    rng = random.Random(0)
    for _ in range(60):
        cut = rng.randrange(1, len(lines[1]) - 1)
        path.write_bytes(
            lines[0] + lines[1][:cut] + lines[2]
        )  # killed within a write, another process goes on
        found = read_trace(path)
        assert [one.name for one in found.records] == ["span0", "span2"]
        assert found.damaged == 1
        path.write_bytes(lines[0] + lines[1][:cut])  # killed, and started again
        with Tracer(path) as tracer, tracer.trace("again"):
            pass
        assert [one.name for one in read_trace(path).records] == ["span0", "again"]


def test_what_is_no_trace_is_refused_by_name(tmp_path):
    for content in (
        b"hello\n",
        b'{"trace_id": 1}\n',
        b"[]",
        b"[" * 100_000,
        b'{"trace_id":"' * 1000,
        b"\xff\xfe\n",
    ):
        path = tmp_path / "other.jsonl"
        path.write_bytes(content)
        with pytest.raises(BadFileError, match=r"other.jsonl' holds no span"):
            read_trace(path)
    (tmp_path / "empty.jsonl").touch()
    assert read_trace(tmp_path / "empty.jsonl") == ([], 0)
    with pytest.raises(BadFileError, match="cannot be read"):
        read_trace(tmp_path / "none.jsonl")


def test_flipped_bits_never_raise(tmp_path):
    path = tmp_path / "run.jsonl"
    with Tracer(path) as tracer, tracer.trace("a", n=1, t="글"), tracer.trace("b"):
        tracer.open_span.event("x", y=2)
    data, rng = path.read_bytes(), random.Random(1)
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            found = read_trace(path)
        except BadFileError:
            continue
        assert 1 <= len(found.records) + found.damaged <= 3  # a line end may have come or gone
        assert all(one.seconds >= 0 for one in found.records)


def test_after_its_end_a_span_changes_nothing():
    tracer = Tracer()
    with tracer.trace("step") as span:
        span.end()
        span.event("late").set("late", 1).fail(KeyError("late"))
    assert (tracer.kept[0].status, tracer.kept[0].attributes, tracer.kept[0].events) == ("ok", {}, ())
    assert (span.status, span.events) == ("ok", [])
