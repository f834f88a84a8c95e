"""LLMCache: when an answer is one, whose it is, how long, how many; what is made once, and what is never kept."""

import random
import sqlite3
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from minillm._files import BadFileError
from minillm.apps.llm_cache import CachedChat, LLMCache, cache_key, canonical_json, same_numbers
from minillm.inference.chat import ChatModel, Reply, ScriptedChat
from minillm.inference.params import SamplingParams
from tests.helpers import soak_count


class Counter:
    """A maker that counts, and answers with how often it was asked."""

    def __init__(self, seconds=0.0):
        self.calls, self.seconds = 0, seconds

    def __call__(self):
        self.calls += 1
        time.sleep(self.seconds)
        return f"answer {self.calls}"


class Directions:
    """An encoder whose similarities a test can work out: "30: text" lies at 30 degrees."""

    dim = 2

    def __init__(self, shift=0.0):
        self.shift, self.texts = shift, []

    def encode(self, texts):
        self.texts += texts
        angles = [np.radians(float(t.split(":")[0]) if ":" in t else 200.0) + self.shift for t in texts]
        return np.array([[np.cos(a), np.sin(a)] for a in angles], dtype=np.float32) * 3


def user(text, *before):
    return [*before, {"role": "user", "content": text}]


SYSTEM = {"role": "system", "content": "You are a shop."}
BASE = {"messages": user("hello", SYSTEM), "model": "m", "params": {"max_tokens": 5}, "namespace": "kim"}


@pytest.mark.parametrize(
    ("change", "hit"),
    [
        ({}, True),
        ({"params": {"max_tokens": 5.0, "stop": None}}, True),
        ({"messages": (dict(reversed(SYSTEM.items())), {"content": "hello", "role": "user"})}, True),
        ({"messages": user("hello ", SYSTEM)}, False),
        ({"messages": user("hello", {**SYSTEM, "content": "You are a bank."})}, False),
        ({"messages": user("hello")}, False),
        ({"messages": [SYSTEM, {"role": "assistant", "content": "hello"}]}, False),
        ({"messages": user("hello", SYSTEM, {"role": "user", "content": "안녕"})}, False),
        ({"model": "n"}, False),
        ({"params": {"max_tokens": 6}}, False),
        ({"params": {"max_tokens": 5, "stop": ["x"]}}, False),
        ({"params": None}, False),
        ({"functions": {"tools": [{"name": "f"}]}}, False),
        ({"namespace": "lee"}, False),
        ({"namespace": ""}, False),
    ],
)
def test_the_same_request_hits_and_any_other_does_not(change, hit):
    cache, make = LLMCache(), Counter()
    assert cache.get_or_create(make=make, **BASE) == "answer 1"
    assert cache.get_or_create(make=make, **BASE | change) == ("answer 1" if hit else "answer 2")
    assert (cache.stats()["exact"], cache.stats()["made"]) == ((1, 1) if hit else (0, 2))


def test_canonical_json_is_one_way_of_writing():
    assert (
        canonical_json({"b": 1.0, "a": (2, None, True), 3: {"한": "글"}})
        == '{"3":{"한":"글"},"a":[2,null,true],"b":1}'
    )
    assert canonical_json(1e300) != canonical_json(int(1e16))
    for value in (float("nan"), float("inf"), object(), {("a",): 1}, b"x"):
        with pytest.raises(ValueError, match=r"a request must hold|keys of a request"):
            canonical_json({"x": value})
    ring = []
    ring.append(ring)
    with pytest.raises(ValueError, match="must not hold itself"):
        canonical_json(ring)


def test_the_key_of_sampling_params_is_what_they_ask_for():
    def key(**fields):
        return cache_key("q", "m", SamplingParams(**fields)).key

    assert key() == key(top_p=1.0, top_k=0) != key(temperature=0)
    assert key(temperature=0) == key(temperature=0.0)
    others = {
        "max_tokens": 17,
        "seed": 3,
        "stop": "a",
        "json_schema": {"type": "string"},
        "logit_bias": {3: 1.0},
    }
    different = [key(**{name: value}) for name, value in others.items()]
    assert len({key(), *different}) == 6


@pytest.mark.parametrize(
    "value",
    [
        "text", "한국어 \ud800", {"a": [1, None, 2.5, True]}, [], 0, False,
        Reply("hi", {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}, "stop"),
        Reply("", {}, "tool_calls", ({"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},)),
    ],
)  # fmt: skip
def test_what_is_kept_comes_back_the_same(tmp_path, value):
    with LLMCache(tmp_path / "c.db") as cache:
        assert cache.get_or_create("q", lambda: value) == value
    with LLMCache(tmp_path / "c.db") as cache:
        found = cache.answer("q", lambda: pytest.fail("made again"))
    assert (found.value, found.how, type(found.value)) == (value, "exact", type(value))


@pytest.mark.parametrize("value", [object(), {1: 2}, (1, 2), float("nan"), {"a": (1,)}])
def test_what_cannot_come_back_the_same_is_refused(value):
    cache = LLMCache()
    with pytest.raises(ValueError, match="a cache keeps replies, texts and JSON values"):
        cache.get_or_create("q", lambda: value)
    assert len(cache) == 0
    assert cache.get_or_create("q", lambda: "x") == "x"


@pytest.mark.parametrize("value", ["", "  \n", None, Reply(" ", {}, "stop")])
def test_an_empty_answer_is_given_and_not_kept(value):
    cache = LLMCache()
    assert cache.get_or_create("q", lambda: value) == value
    assert cache.get_or_create("q", lambda: "better") == "better"
    assert cache.get_or_create("q", Counter()) == "better"


def test_drawn_answers_are_not_kept_unless_asked_for():
    cache, make = LLMCache(), Counter()
    for params in (SamplingParams(), SamplingParams(temperature=0.1, seed=1), {"temperature": 2}):
        before = make.calls
        assert [cache.answer("q", make, params=params).how for _ in range(2)] == ["passed", "passed"]
        assert make.calls == before + 2
        assert cache.find("q", params=params) is None
    for params in (SamplingParams(temperature=0), {"temperature": 0.0}, {"max_tokens": 1}, None):
        assert [cache.answer("q", make, params=params).how for _ in range(2)] == ["made", "exact"]
    asked = LLMCache(sampled=True)
    assert [asked.answer("q", make, params=SamplingParams()).how for _ in range(2)] == ["made", "exact"]
    assert (cache.stats()["passed"], len(cache), len(asked)) == (6, 4, 1)


# --- meaning ---


def test_a_hit_is_what_is_similar_enough_and_the_best_of_them():
    cache, make = LLMCache(None, Directions(), np.cos(np.radians(10.5))), Counter()
    assert cache.get_or_create("0: a", make) == "answer 1"
    assert cache.get_or_create("18: b", make) == "answer 2"
    found = cache.answer("10: c", make)
    assert (found.value, found.how) == ("answer 2", "semantic")
    assert found.score == pytest.approx(np.cos(np.radians(8)), abs=1e-6)
    assert cache.answer("0: a", make).how == "exact"
    assert cache.answer("29: d", make).how == "made"
    assert cache.answer("-10: e", make).value == "answer 1"


def test_everything_but_the_question_must_be_the_same_in_semantic_mode():
    cache, make = LLMCache(None, Directions(), 0.99), Counter()
    cache.get_or_create(make=make, **BASE | {"messages": user("0: a", SYSTEM)})
    turn = [{"role": "user", "content": "0: x"}, {"role": "assistant", "content": "y"}]
    for change in (
        {"messages": user("1: a")},
        {"messages": user("1: a", {**SYSTEM, "content": "You are a shop!"})},
        {"messages": user("1: a", SYSTEM, *turn)},
        {"messages": [SYSTEM, {"role": "assistant", "content": "1: a"}]},
        {"messages": [SYSTEM, {"role": "user", "content": "1: a", "name": "kim"}]},
        {"model": "n"},
        {"params": {"max_tokens": 6}},
        {"functions": {"tools": ["f"]}},
        {"namespace": "lee"},
    ):
        request = BASE | {"messages": user("1: a", SYSTEM)} | change
        assert cache.find(**request) is None, change
    assert cache.find(**BASE | {"messages": user("1: a", SYSTEM)}).how == "semantic"


def test_no_answer_crosses_namespaces():
    """40 users ask the same and similar things in a mixed order: each gets its own answers only."""
    cache = LLMCache(None, Directions(), 0.9)
    rng = np.random.default_rng(0)
    for number in rng.permutation(400):
        name, angle = f"user{number % 40}", int(rng.integers(0, 4)) * 10
        answer = cache.answer(f"{angle}: secret", lambda: f"for {name}", name)  # noqa: B023
        assert answer.value == f"for {name}"
    stats = cache.stats()
    assert stats["namespaces"] == 40
    assert stats["exact"] > 100
    assert stats["semantic"] > 20
    assert cache.clear("user3") > 0
    assert cache.answer("0: secret", lambda: "new", "user3").how == "made"
    assert cache.answer("0: secret", lambda: "new", "user4").value == "for user4"


def test_what_must_agree_besides():
    encoder = SimpleNamespace(encode=lambda texts: np.ones((len(texts), 2), dtype=np.float32))
    cache = LLMCache(None, encoder, 0.9, agree=same_numbers)
    assert cache.get_or_create("the price of plan 3", lambda: "3 won") == "3 won"
    assert cache.answer("the price of plan 4", lambda: "4 won").how == "made"
    assert cache.answer("plan 4, its price", lambda: "?").value == "4 won"
    assert cache.answer("plan 3, its price", lambda: "?").value == "3 won"
    assert same_numbers("1,000 won and 2", "2 for 1000 won")
    assert not same_numbers("2 and 2", "2")


def test_vectors_of_another_encoder_are_refused(tmp_path):
    path = tmp_path / "c.db"
    LLMCache(path, Directions(), 0.9).close()
    LLMCache(path, Directions(), 0.8).close()
    LLMCache(path).close()  # without one, the exact answers serve
    with pytest.raises(ValueError, match=r"LLM cache .*c.db' was filled by another encoder"):
        LLMCache(path, Directions(shift=1.0), 0.9)


def test_a_question_of_which_the_encoder_knows_nothing_is_like_no_other():
    encoder = SimpleNamespace(encode=lambda texts: np.zeros((len(texts), 2), dtype=np.float32))
    encoder.encode = lambda texts: np.array([[float(t == "known"), 0.0] for t in texts], dtype=np.float32)
    cache = LLMCache(None, encoder, -1.0)
    cache.get_or_create("nothing", lambda: "a")
    assert cache.answer("else", lambda: "b").how == "made"
    assert cache.answer("nothing", lambda: "c").how == "exact"


# --- time and size ---


def test_an_answer_is_good_for_so_long():
    now = [1000.0]
    cache, make = LLMCache(ttl=10, clock=lambda: now[0]), Counter()
    cache.get_or_create("q", make)
    now[0] = 1010.0
    assert cache.answer("q", make).how == "exact"  # use does not make it younger
    now[0] = 1010.1
    assert cache.answer("q", make) == ("answer 2", "made", None)
    cache.get_or_create("other", make)
    now[0] = 1100.0
    cache.get_or_create("third", make)
    assert (len(cache), cache.stats()["dropped"]) == (1, 2)


def test_the_least_recently_used_go():
    """Against an OrderedDict that does the same."""
    from collections import OrderedDict

    cache, rng, model = LLMCache(most=5), np.random.default_rng(0), OrderedDict()
    for _ in range(300):
        name = f"q{rng.integers(0, 9)}"
        how = cache.answer(name, lambda: "x").how
        assert how == ("exact" if name in model else "made")
        model[name] = True
        model.move_to_end(name)
        if len(model) > 5:
            model.popitem(last=False)
    assert len(cache) == 5


# --- at the same time ---


def together(count, work):
    """Run `work(i)` in threads that start at the same moment; what each gave, errors as they are."""
    gate, found = threading.Barrier(count), [None] * count

    def one(i):
        gate.wait(30)
        try:
            found[i] = work(i)
        except Exception as error:
            found[i] = error

    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a caller hangs"
    return found


@pytest.mark.parametrize("path", [None, "c.db"])
def test_two_hundred_equal_requests_cost_one_generation(tmp_path, path):
    cache, make = LLMCache(path and tmp_path / path), Counter(seconds=0.05)
    assert together(200, lambda i: cache.get_or_create("q", make)) == ["answer 1"] * 200
    assert make.calls == 1
    stats = cache.stats()
    assert (stats["made"], stats["shared"] + stats["exact"]) == (1, 199)


def test_others_do_not_wait():
    cache = LLMCache()
    gate = threading.Barrier(8)  # all eight makers are in it at the same time, or this one breaks

    def make():
        gate.wait(30)
        return "x"

    assert together(8, lambda i: cache.get_or_create(f"q{i}", make)) == ["x"] * 8


def test_the_next_one_tries_where_the_maker_raises():
    cache, calls = LLMCache(), []

    def make():
        calls.append(1)
        time.sleep(0.02)
        if len(calls) <= 3:
            raise ConnectionError(f"down {len(calls)}")
        return "up"

    found = together(20, lambda i: cache.get_or_create("q", make))
    assert sorted(str(one) for one in found if isinstance(one, Exception)) == ["down 1", "down 2", "down 3"]
    assert [one for one in found if not isinstance(one, Exception)] == ["up"] * 17
    assert (len(calls), cache.stats()["raised"]) == (4, 3)


def test_nobody_waits_for_ever():
    cache, release = LLMCache(patience=0.05), threading.Event()
    slow = threading.Thread(
        target=lambda: cache.get_or_create("q", lambda: release.wait(60) and "slow"), daemon=True
    )
    slow.start()
    while not cache._flights._running:
        time.sleep(0.001)
    assert cache.get_or_create("q", lambda: "quick") == "quick"
    release.set()
    slow.join(60)
    with pytest.raises(ValueError, match="asked the cache for the very answer"):
        cache.get_or_create("r", lambda: cache.get_or_create("r", lambda: "x"))
    assert cache.get_or_create("r", lambda: cache.get_or_create("s", lambda: "inner")) == "inner"


def test_what_one_waiter_changes_the_others_do_not_see():
    cache = LLMCache()

    def make():
        time.sleep(0.05)
        return {"list": [1]}

    def work(i):
        found = cache.get_or_create("q", make)
        found["list"].append(i)
        return found

    assert sorted(one["list"][1] for one in together(10, work)) == list(range(10))


# --- streams ---


def test_a_stream_is_kept_when_it_has_ended(tmp_path):
    cache, made = LLMCache(tmp_path / "c.db"), []

    def stream(fail=False):
        made.append(1)
        yield "가"
        yield ""
        yield "나 "
        if fail:
            raise ConnectionError("cut")

    closed = cache.stream("q", stream)
    assert next(closed) == "가"
    closed.close()
    with pytest.raises(ConnectionError):
        list(cache.stream("q", lambda: stream(True)))
    assert len(cache) == 0
    assert list(cache.stream("q", stream)) == ["가", "", "나 "]
    assert list(cache.stream("q", stream)) == ["가", "", "나 "]
    assert list(cache.stream("q", stream, "other user")) == ["가", "", "나 "]
    assert len(made) == 4
    assert cache.answer("q", lambda: "whole").how == "made"  # a whole answer is another request than a stream
    assert list(cache.stream("q", stream, params={"temperature": 1})) == ["가", "", "나 "]
    assert len(made) == 5


class CountedChat(ScriptedChat):
    """Knows its own name, as OpenAIChat does."""

    model = "scripted"


def test_a_cached_chat_is_asked_like_the_model(tmp_path):
    model = CountedChat(["one", Reply("two", {"total_tokens": 7}, "stop"), '{"a": 1}', "x\ny", "lee's", "b"])
    cache = LLMCache(tmp_path / "c.db")
    kim, greedy = CachedChat(model, cache, "kim"), SamplingParams(temperature=0)
    assert isinstance(kim, ChatModel)
    assert [kim.chat(user("1"), greedy).text for _ in range(3)] == ["one"] * 3
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    assert [kim.chat(user("1"), greedy, tools=[tool]).usage for _ in range(2)] == [{"total_tokens": 7}] * 2
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert [kim.json(user("1"), schema, greedy) for _ in range(2)] == [{"a": 1}] * 2
    assert [list(kim.stream(user("1"), greedy)) for _ in range(2)] == [["x\n", "y"]] * 2
    assert CachedChat(model, cache, "lee").chat(user("1"), greedy).text == "lee's"
    assert kim.choose(user("1"), ["a", "b"]) == (1, [0.0, 1.0])
    assert cache.stats()["saved_tokens"] == 7
    with pytest.raises(ValueError, match="the script has 6 replies"):
        kim.chat(user("1"))  # the model's own settings draw: not kept
    for wrong in ((model, None, "x"), (None, cache, "x"), (model, cache, None)):
        with pytest.raises(ValueError, match=r"CachedChat takes|namespace must be"):
            CachedChat(*wrong)


# --- what goes wrong ---


def test_a_file_that_fails_costs_hits_and_no_answers(tmp_path, monkeypatch):
    from minillm.search.store import sqlite_file

    monkeypatch.setattr(sqlite_file, "PATIENCE", 0.01)
    path = tmp_path / "c.db"
    cache, make = LLMCache(path), Counter()
    cache.get_or_create("q", make)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert cache.get_or_create("r", make) == "answer 2"
    other.execute("ROLLBACK")
    other.close()
    assert cache.stats()["failed"] >= 2
    assert "held by another writer" in cache.why
    assert cache.answer("q", make).how == "exact"


@pytest.mark.parametrize(
    "damage",
    [
        "value = replace(value, 'kim', 'lee')",
        "namespace = 'lee'",
        "question = '90: b'",
        "vector = zeroblob(8)",
        "context = zeroblob(32)",
        "value = substr(value, 2)",
    ],
)
def test_a_row_that_was_changed_is_no_answer(tmp_path, damage):
    path = tmp_path / "c.db"
    with LLMCache(path, Directions(), 0.9) as cache:
        cache.get_or_create("0: a", lambda: "for kim", "kim")
        connection = sqlite3.connect(path)
        connection.execute(f"UPDATE answers SET {damage}")
        connection.commit()
        connection.close()
        for user in ("kim", "lee"):
            assert cache.answer("0: a", lambda: f"for {user}", user).value == f"for {user}"  # noqa: B023
            assert cache.answer("1: a", lambda: f"for {user}", user).value == f"for {user}"  # noqa: B023


def test_flipped_bits_of_the_file_change_no_answer(tmp_path):
    rng, path = random.Random(0), tmp_path / "c.db"
    with LLMCache(path) as cache:
        for number in range(20):
            cache.get_or_create(f"q{number}", lambda: f"answer {number} " * 20, f"u{number % 2}")  # noqa: B023
    data = path.read_bytes()
    used = [place for place, byte in enumerate(data) if byte]
    for _ in range(soak_count(1000)):
        damaged = bytearray(data)
        damaged[rng.choice(used)] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        for end in ("-wal", "-shm"):
            path.with_name(f"c.db{end}").unlink(missing_ok=True)
        try:
            with LLMCache(path) as cache:
                for number in range(20):
                    made = f"answer {number} " * 20
                    assert cache.get_or_create(f"q{number}", lambda: made, f"u{number % 2}") == made  # noqa: B023
        except BadFileError as error:
            assert "c.db' is refused" in str(error)  # noqa: PT017


def test_what_is_no_cache_is_refused_by_name(tmp_path):
    text, store = tmp_path / "text.db", tmp_path / "store.db"
    text.write_text("not a database, but long enough")
    from minillm.search.store import VectorStore

    VectorStore(2, path=store).close()
    for path, said in [
        (text, "it is no SQLite file"),
        (store, "of another kind"),
        (tmp_path, "it is a folder"),
    ]:
        with pytest.raises(BadFileError, match=rf"LLM cache .* is refused: .*{said}"):
            LLMCache(path)
    LLMCache(tmp_path / "c.db").close()
    with pytest.raises(BadFileError, match=r"vector store .* another kind"):
        VectorStore(2, path=tmp_path / "c.db")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: LLMCache(None, Directions()), "encoder and threshold go together"),
        (lambda: LLMCache(None, threshold=0.9), "encoder and threshold go together"),
        (lambda: LLMCache(None, Directions(), 1.5), "threshold must be between"),
        (lambda: LLMCache(None, "e5", 0.5), "encoder must have encode"),
        (lambda: LLMCache(ttl=-1), "ttl must be at least 0"),
        (lambda: LLMCache(most=0), "most must be at least 1"),
        (lambda: LLMCache(sampled=1), "sampled must be True or False"),
        (lambda: LLMCache().get_or_create([], str), "messages must be"),
        (lambda: LLMCache().get_or_create(["x"], str), "messages must be"),
        (lambda: LLMCache().get_or_create("q", "x"), "make must be a function"),
        (lambda: LLMCache().get_or_create("q", str, None), "namespace must be a str"),
        (lambda: LLMCache().get_or_create("q", str, params=3), "params must be"),
        (lambda: LLMCache().get_or_create("q", str, params={"x": object()}), "a request must hold"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_made(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_nobody_waits_longer_than_the_patience_in_all():
    """Not once for the thread that makes the answer, and once more for the row in the file."""
    cache, release, waited = LLMCache(patience=2.0), threading.Event(), []
    first = threading.Thread(target=cache.get_or_create, args=("q", lambda: release.wait(30) and "slow"))
    first.start()

    def ask(late):
        time.sleep(late)
        begun = time.monotonic()

        def own():
            waited.append(time.monotonic() - begun)
            release.wait(30)
            return "own"

        cache.get_or_create("q", own)

    others = [threading.Thread(target=ask, args=(0.1 + n / 50,)) for n in range(4)]
    for one in others:
        one.start()
    until = time.monotonic() + 20
    while len(waited) < 4 and time.monotonic() < until:
        time.sleep(0.02)
    spread = max(waited) - min(waited) if len(waited) == 4 else None
    release.set()
    for one in [first, *others]:
        one.join(30)
    assert len(waited) == 4  # all of them make their own while the first one is still at it
    assert min(waited) > 1.5
    assert spread < 1.5, waited  # twice the patience would be 2 s more


def test_a_hit_that_cannot_be_noted_is_a_hit(monkeypatch):
    cache, maker = LLMCache(), Counter()
    cache.get_or_create("q", maker)

    def full(connection, number):
        raise OSError("the disk is full")

    monkeypatch.setattr("minillm.apps.llm_cache.answers.touch", full)
    assert cache.answer("q", maker) == ("answer 1", "exact", None)
    assert maker.calls == 1
    assert cache.stats()["failed"] == 1


def test_a_damaged_row_hides_no_other_one():
    cache = LLMCache(None, Directions(), 0.5)
    cache.get_or_create("0: kept", lambda: "good")
    cache.threshold = 1.0
    cache.get_or_create("20: damaged", lambda: "bad")
    cache.threshold = 0.5
    with cache._file.transaction(write=True) as connection:
        connection.execute("UPDATE answers SET value = '[\"value\", \"other\"]' WHERE question LIKE '20%'")
    assert cache.answer("21: asked", lambda: "made").value == "good"


@pytest.mark.parametrize("owner", ["", "nonsense", "host:many:x", "host:99999999999999999999999:x", b"\xff"])
def test_a_damaged_row_of_a_flight_stops_nobody(owner):
    cache = LLMCache(patience=0.2)
    with cache._file.transaction(write=True) as connection:
        row = ("", cache_key("q").key, owner, time.time() + 1000)
        connection.execute("INSERT INTO flights VALUES (?, ?, ?, ?)", row)
    assert cache.answer("q", lambda: "made") == ("made", "made", None)


def test_a_patient_process_is_waited_for_by_an_impatient_one(tmp_path):
    """Its row is good for its own patience; the other one waits as long as it wants to, and not less."""
    with (
        LLMCache(tmp_path / "c.db", patience=30) as patient,
        LLMCache(tmp_path / "c.db", patience=5) as other,
    ):
        begun, release = threading.Event(), threading.Event()

        def slow():
            begun.set()
            release.wait(30)
            return "one answer"

        making = threading.Thread(target=patient.get_or_create, args=("q", slow))
        making.start()
        assert begun.wait(30)
        timer = threading.Timer(0.3, release.set)
        timer.start()
        assert other.get_or_create("q", lambda: "another one") == "one answer"
        making.join(30)


def test_keys_that_would_be_one_in_json_are_refused():
    with pytest.raises(ValueError, match="must differ as texts"):
        cache_key("q", params={"logit_bias": {1: 5, "1": -5}})


def test_a_stream_that_fails_is_counted_and_must_be_of_texts():
    cache = LLMCache()
    with pytest.raises(ValueError, match="make must be a function"):
        cache.stream("q", "no function")
    with pytest.raises(ValueError, match="a piece must be"):
        list(cache.stream("q", lambda: iter(["a", 5])))
    assert cache.stats()["raised"] == 1
    assert len(cache) == 0
