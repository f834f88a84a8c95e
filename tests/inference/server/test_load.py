"""The server under load: clients that hang up, ends in the middle of answers, a process that is killed."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from minillm.inference import SamplingParams, generate_batch
from minillm.inference.server import Server
from tests.helpers import soak_count
from tests.inference.server.tiny import SHORT, all_free, tiny_engine, tiny_model

pytestmark = pytest.mark.timeout(120)
WARM = 16  # tokens that a tiny engine has made before
LONG = {"model": "tiny", "prompt": [1, 2, 3], "max_tokens": 100, "ignore_eos": True, "stream": True}

CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 40}
KINDS = [
    ("/v1/completions", LONG),
    ("/v1/completions", LONG | {"n": 2, "logprobs": 3}),
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", CHAT | {"response_format": {"type": "json_object"}}),
]


def in_threads(count, work):
    """Run work(number) in so many threads; what they return, exceptions raised."""
    found, wrong = [None] * count, []

    def one(number):
        try:
            found[number] = work(number)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=one, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    return threads, found, wrong


def joined(threads, found, wrong):
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if wrong:
        raise wrong[0]
    return found


def slowed(engine, seconds=0.01):
    """Every step takes at least so long: an answer is still going on when the test does something to it."""
    real = engine.step
    engine.step = lambda: time.sleep(seconds) or real()
    return engine


@pytest.mark.parametrize(
    ("clients", "seconds"), [(20, 5.0), pytest.param(200, soak_count(60), marks=pytest.mark.soak)]
)
def test_streaming_clients_of_whom_a_third_hangs_up(clients, seconds):
    engine = tiny_engine(num_blocks=60)  # less than all want: some wait, some give up their blocks
    end = time.monotonic() + seconds
    with Server(engine, port=0, model_name="tiny") as server:

        def client(number):
            random_ = random.Random(number)
            done = left = 0
            with httpx.Client(base_url=server.url, timeout=SHORT) as http:
                while not done + left or time.monotonic() < end:  # a busy machine starts some late
                    asked = LONG | {
                        "prompt": [random_.randrange(250) for _ in range(random_.randrange(1, 20))],
                        "max_tokens": random_.randrange(1, 60),
                        "n": random_.choice([1, 1, 2]),
                    }
                    hangs_up = random_.random() < 1 / 3
                    with http.stream("POST", "/v1/completions", json=asked) as got:
                        assert got.status_code == 200
                        lines = got.iter_lines()
                        first = next(lines)
                        if hangs_up:
                            left += 1
                            continue
                        text = [first, *lines]
                        assert text[-2] == "data: [DONE]", text[-4:]
                        assert '"error"' not in "".join(text)
                        done += 1
            return done, left

        counts = joined(*in_threads(clients, client))
        assert all_free(server, engine)
        assert min(map(sum, counts)) > 0  # nobody starved: each was answered, in SHORT seconds a piece
        assert sum(done for done, _ in counts) > 0
        assert sum(left for _, left in counts) > 0
        page = httpx.get(f"{server.url}/metrics", timeout=SHORT).text
        assert set(re.findall(r'requests_total\{path="/v1/completions",status="(\d+)"', page)) == {"200"}
        assert server.loop.failed_steps == 0
        assert engine.unfinished == 0


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_ends_its_request(stream):
    engine = slowed(tiny_engine(), 0.02)
    with Server(engine, port=0, model_name="tiny") as server:
        line = socket.create_connection(("127.0.0.1", server.port), timeout=SHORT)
        body = json.dumps(LONG | {"stream": stream}).encode()
        line.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        start = time.monotonic()
        while server.loop.stats["new_tokens"] < 5 + WARM and time.monotonic() < start + SHORT:
            time.sleep(0.01)
        line.close()
        steps = server.loop.stats["steps"]
        assert all_free(server, engine)
        assert server.loop.stats["steps"] - steps < 60  # of the hundred that it asked for


def slow_reader(server, **asked):
    """A connection that asked for a stream and reads nothing of it; the system keeps little for it."""
    server._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # connections inherit it
    line = socket.socket()
    line.settimeout(SHORT)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(("127.0.0.1", server.port))
    body = json.dumps(LONG | asked).encode()
    line.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return line


def until(what, wait=SHORT):
    end = time.monotonic() + wait
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("stream", [True, False])
def test_a_reader_that_takes_nothing_is_cut_off_and_holds_nobody_up(stream):
    engine = tiny_engine(1024, num_blocks=2000)
    asked = {"max_tokens": 250, "n": 4, "logprobs": 20, "stream": stream}
    with Server(engine, port=0, model_name="tiny", write_seconds=0.7) as server:
        with slow_reader(server, **asked) as line:
            until(lambda: server.app.active)
            for _ in range(3):  # others are answered meanwhile
                got = httpx.post(f"{server.url}/v1/completions", json=LONG | {"stream": False}, timeout=SHORT)
                assert got.status_code == 200
            assert all_free(server, engine)
            until(lambda: not server._server.server_state.connections)
            heard = b""
            with contextlib.suppress(ConnectionError):
                while more := line.recv(2**20):
                    heard += more
            assert b"[DONE]" not in heard
            assert len(heard) < 200_000  # of megabytes
        if stream:  # a whole answer was written in one piece
            until(lambda: "minillm_clients_gone_total 1.0" in _page(server.url))


def test_what_is_kept_for_a_slow_reader_has_an_end(monkeypatch):
    monkeypatch.setattr("minillm.inference.server.posted.MOST_BEHIND", 50)
    engine = tiny_engine(1024, num_blocks=2000)
    with (
        Server(engine, port=0, model_name="tiny", write_seconds=SHORT) as server,
        slow_reader(server, max_tokens=900, n=4, logprobs=5),
    ):
        until(lambda: server.app.active)
        until(lambda: server.loop.stats["running"])
        until(lambda: not server.loop.stats["running"])  # its blocks are free, long before write_seconds
        assert server.loop.stats["free_blocks"] == server.loop.stats["num_blocks"]
        assert server.loop.stats["new_tokens"] < 3000  # of 3,600


def test_headers_that_do_not_come_are_given_up():
    with Server(tiny_engine(), port=0, model_name="tiny", read_seconds=0.3) as server:
        for sent in (b"", b"POST /v1/completions HTTP/1.1\r\nHos"):
            with socket.create_connection(("127.0.0.1", server.port), timeout=SHORT) as line:
                line.sendall(sent)
                with contextlib.suppress(ConnectionError):
                    assert line.recv(4096) == b""
        until(lambda: not server._server.server_state.connections)


def test_an_end_under_load_finishes_or_aborts_every_request():
    engine = slowed(tiny_engine(max_batch_size=4), 0.02)
    server = Server(engine, port=0, model_name="tiny", end_seconds=0.5).start()

    def client(number):
        asked = LONG | {"max_tokens": 5 if number < 4 else 100}
        with httpx.stream("POST", f"{server.url}/v1/completions", json=asked, timeout=SHORT) as got:
            return got.status_code, "".join(got.iter_text())

    running = in_threads(10, client)
    start = time.monotonic()
    while server.app.active < 6 and time.monotonic() < start + SHORT:
        time.sleep(0.01)
    start = time.monotonic()
    server.stop()
    assert time.monotonic() - start < SHORT
    for status, text in _heard(running):
        ended = text.endswith("data: [DONE]\n\n") or '"code": "shutting_down"' in text
        assert (status == 200 and ended) or (status == 503 and "shutting_down" in text), (status, text[-200:])
    assert engine.unfinished == 0
    assert engine.stats()["free_blocks"] == engine.stats()["num_blocks"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/health", timeout=SHORT)


def test_a_body_that_does_not_come_is_given_up():
    with Server(tiny_engine(), port=0, model_name="tiny", read_seconds=0.3) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=SHORT) as line:
            line.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
            assert line.recv(4096).startswith(b"HTTP/1.1 408")
        assert not server.app.active


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "tiny"
    model, tokenizer = tiny_model()
    model.save_pretrained(path)
    tokenizer.save(path)
    return path


def started(folder, *options):
    """(process, url) of a `minillm serve` that listens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "minillm.cli", "serve", str(folder), *options],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    killer = threading.Timer(90, process.kill)  # a line that never comes
    killer.start()
    line = process.stderr.readline()
    killer.cancel()
    found = re.search(r"tiny at (http://\S+)/v1", line)
    if found is None:
        process.kill()
        raise AssertionError(line + process.stderr.read())
    return process, found[1]


def ended(process):
    process.kill()
    process.wait(SHORT)
    process.stderr.close()


@pytest.mark.skipif(os.name == "nt", reason="no SIGTERM there")
def test_minillm_serve_ends_in_order_under_load(folder):
    process, url = started(folder, "--port", "0", "--end-seconds", "1")
    try:
        with httpx.Client(base_url=url, timeout=SHORT) as http:
            [model] = http.get("/v1/models").json()["data"]
            assert model["id"] == "tiny"
            asked = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
            answer = http.post("/v1/chat/completions", json=asked)
            assert answer.json()["usage"]["completion_tokens"] <= 3

        def client(_):
            with httpx.stream("POST", f"{url}/v1/completions", json=LONG, timeout=SHORT) as got:
                return got.status_code, [line for line in got.iter_lines() if line]

        running = in_threads(8, client)
        end = time.monotonic() + SHORT
        while _active(url) < 1 and time.monotonic() < end and any(one.is_alive() for one in running[0]):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        for status, lines in _heard(running):
            last = lines[-1].removeprefix("data: ")
            assert status in (200, 503)
            assert last == "[DONE]" or "error" in json.loads(last)
        assert process.wait(3 * SHORT) == 0  # an interpreter's own end takes its time on a busy machine
        assert process.stderr.read() == "ended\n"
    finally:
        ended(process)


def resident(process):
    """Bytes of memory that a process holds."""
    with open(f"/proc/{process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="only Linux says there how much memory is held"
)
@pytest.mark.parametrize(
    ("clients", "seconds"), [(20, 5.0), pytest.param(200, soak_count(60), marks=pytest.mark.soak)]
)
def test_memory_after_load_is_what_it_was_after_warming_up(folder, clients, seconds):
    process, url = started(folder, "--port", "0")

    def load(seconds):
        """Streams and whole answers, under a schema, some of them left midway."""
        end = time.monotonic() + seconds

        def client(number):
            random_, done = random.Random(number), 0
            with httpx.Client(base_url=url, timeout=SHORT) as http:
                while not done or time.monotonic() < end:
                    path, asked = random_.choice(KINDS)
                    with http.stream("POST", path, json=asked | {"model": "tiny", "stream": True}) as got:
                        assert got.status_code == 200
                        for line in got.iter_lines():
                            if random_.random() < 0.05:
                                break
                            assert '"error"' not in line
                    done += 1
            return done

        done = sum(joined(*in_threads(clients, client)))
        until(lambda: not _active(url))
        return done

    try:
        load(max(2.0, seconds / 5))
        before = resident(process)
        assert load(seconds) >= clients
        assert resident(process) < 1.05 * before
        page = httpx.get(f"{url}/metrics", timeout=SHORT).text
        numbers = dict(re.findall(r"^minillm_engine_(\w+) (\S+)$", page, re.MULTILINE))
        assert numbers["free_blocks"] == numbers["num_blocks"]
        assert float(numbers["failed_steps_total"]) == 0
        assert 'status="5' not in page
    finally:
        ended(process)


@pytest.mark.parametrize("draft", ["prompt-lookup", "itself"])
def test_minillm_serve_with_drafts_writes_the_same(folder, draft):
    asked = {"model": "tiny", "prompt": "ab ab ab ab", "max_tokens": 30, "temperature": 0, "ignore_eos": True}
    process, url = started(
        folder, "--port", "0", "--draft", str(folder) if draft == "itself" else draft, "--draft-tokens", "3"
    )
    try:
        told = httpx.post(f"{url}/v1/completions", json=asked, timeout=SHORT).json()["choices"][0]["text"]
        numbers = dict(re.findall(r"^minillm_engine_(\w+) (\S+)$", _page(url), re.MULTILINE))
    finally:
        ended(process)
    model, tokenizer = tiny_model()
    params = SamplingParams(max_tokens=30, temperature=0, ignore_eos=True)
    assert told == generate_batch(model, [tokenizer.encode("ab ab ab ab")], params, tokenizer)[0].text
    if draft == "itself":  # 4 tokens a step
        assert float(numbers["steps_total"]) < 15


@pytest.mark.parametrize(("options", "words"), [
    (["--draft", "nowhere"], "nowhere"), (["--draft-tokens", "0"], "--draft-tokens"),
])  # fmt: skip
def test_drafts_that_will_not_do(folder, options, words):
    done = subprocess.run(
        [sys.executable, "-m", "minillm.cli", "serve", str(folder), "--port", "0", *options],
        capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.soak
def test_minillm_serve_starts_again_after_kill(folder):
    process, url = started(folder, "--port", "0")
    ended(process)  # as kill -9
    process, again = started(folder, "--port", url.rpartition(":")[2])
    try:
        assert again == url
        assert httpx.get(f"{url}/health", timeout=SHORT).status_code == 200
    finally:
        ended(process)


def _heard(running):
    """Answers of those that came before the server closed its door; the system refused the others a connection."""
    threads, found, wrong = running
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert all(isinstance(one, (httpx.ConnectError, httpx.ReadError)) for one in wrong), wrong
    return [one for one in found if one is not None]


def _page(url):
    return httpx.get(f"{url}/metrics", timeout=SHORT).text


def _active(url):
    return float(re.search(r"^minillm_requests_active (\S+)", _page(url), re.MULTILINE)[1])
