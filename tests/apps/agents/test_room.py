"""Tools that are given, memory, the page."""

import json
import os
import random
from html.parser import HTMLParser

import pytest

from minillm.apps.agents.agent import Agent
from minillm.apps.agents.memory import BothMemories, LongMemory, ShortMemory
from minillm.apps.agents.page import save_transcript, transcript_page
from minillm.apps.agents.toolkit import (
    MOST_FILES,
    calculator,
    clock_tool,
    folder_tools,
    search_tool,
    sql_tool,
)
from minillm.apps.agents.tools import Observation, Toolbox
from minillm.apps.agents.transcript import Run, Step
from minillm.apps.guardrails import NgramEncoder
from minillm.inference import ScriptedChat
from minillm.sandbox import SQLSandbox
from minillm.search import VectorStore
from tests.apps.agents.test_agent import act


def test_calculator_clock_and_sql():
    with SQLSandbox(script="CREATE TABLE t (n); INSERT INTO t VALUES (1), (2);") as sandbox:
        box = Toolbox([calculator, clock_tool(lambda: "정오"), sql_tool(sandbox)])
        assert box.call("calculator", {"expression": "(3 + 4) * 2"}).text == "14"
        for bad in ("'a' * 3", "__import__('os')", "9 ** 9 ** 9", "1 / 0", "True", "2^3"):
            assert box.call("calculator", {"expression": bad}).error
        assert box.call("clock", {}).text == "정오"
        assert (
            box.call("sql", {"query": "SELECT sum(n) FROM t"}).text
            == '{"columns": ["sum(n)"], "rows": [[3]]}'
        )
        assert box.call("sql", {"query": "DELETE FROM t"}).error
        many = (
            "WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n WHERE x < 53) SELECT x FROM n"
        )
        said = json.loads(box.call("sql", {"query": many}).text)
        assert (said["rows_left_out"], len(said["rows"])) == (3, 50)


def test_a_list_of_files_that_was_cut_says_so(tmp_path):
    for number in range(MOST_FILES):
        (tmp_path / f"{number:03}.txt").touch()
    box = Toolbox(folder_tools(tmp_path))
    assert len(json.loads(box.call("list_files", {}).text)) == MOST_FILES
    (tmp_path / "more.txt").touch()
    said = json.loads(box.call("list_files", {}).text)
    assert (len(said), said[0]) == (MOST_FILES + 1, "(the first 200, there are more)")


def test_no_path_leads_out_of_the_folder(tmp_path):
    root, secret = tmp_path / "root", tmp_path / "secret.txt"
    (root / "sub").mkdir(parents=True)
    secret.write_text("secret", "utf-8")
    (root / "sub" / "가.txt").write_text("안녕", "utf-8")
    paths = [
        "../secret.txt",
        str(secret),
        "sub/../../secret.txt",
        "",
        ".",
        "sub",
        "a\0b",
        "..\\secret.txt",
        "C:/x",
        "sub//가.txt",
    ]
    if hasattr(os, "symlink") and os.name == "posix":
        (root / "link").symlink_to(tmp_path)
        (root / "file").symlink_to(secret)
        os.link(secret, root / "hard")
        os.mkfifo(root / "pipe")
        paths += ["link/secret.txt", "file", "hard", "pipe"]
    box = Toolbox(folder_tools(root))
    for path in paths:
        assert box.call("read_file", {"path": path}).error, path
    for path in (path for path in paths if path not in ("hard", "pipe")):
        assert box.call("write_file", {"path": path, "text": "x"}).error, path
    box.call("write_file", {"path": "hard", "text": "x"})
    assert secret.read_text("utf-8") == "secret"
    assert box.call("read_file", {"path": "sub/가.txt"}).text == "안녕"
    assert box.call("write_file", {"path": "new/나.txt", "text": "b"}).text == "written"
    assert '"sub/가.txt"' in box.call("list_files", {}).text
    assert box.tools["write_file"].dangerous
    with pytest.raises(ValueError, match="folder"):
        folder_tools(tmp_path / "none")


def test_short_memory_keeps_the_newest_that_fit():
    draw = random.Random(0)
    for _ in range(200):
        messages = [
            {"role": "user", "content": "x" * draw.randint(1, 60)} for _ in range(draw.randint(0, 12))
        ]
        limit = draw.randint(4, 200)
        left = ShortMemory(limit, count=len).fit(messages)
        assert sum(len(one["content"]) for one in left) <= limit
        assert left == messages[len(messages) - len(left) :]
        if len(left) < len(messages):
            dropped = messages[len(messages) - len(left) - 1]
            assert sum(len(one["content"]) for one in [dropped, *left]) > limit
        short = ShortMemory(limit, lambda older: f"{len(older)} earlier " * 30, count=len).fit(messages)
        assert sum(len(one["content"]) for one in short) <= limit


def test_long_memory_is_recalled_in_the_next_run_and_kept_once():
    store = VectorStore(256, encoder=NgramEncoder(256))
    store.upsert([{"id": "a", "text": "서울의 인구는 940만 명"}, {"id": "b", "text": "the lamp costs 24"}])
    assert "940만" in Toolbox([search_tool(store, 1)]).call("search", {"query": "서울 인구"}).text
    memory = BothMemories(ShortMemory(), LongMemory(store, 1))
    model = ScriptedChat([act("answer", text="파랑")] * 3)
    agent = Agent("a", "b", memory=memory, model=model)
    for _ in range(3):
        agent.run("내가 좋아하는 색은?")
    assert "파랑" in model.asked[1][0]["content"]
    assert "파랑" not in model.asked[0][0]["content"]
    assert store.stats()["namespaces"]["memory"]["vector_count"] == 1


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text, self.attributes = [], "", set()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


def test_a_page_shows_everything_and_runs_nothing(tmp_path):
    evil = "<script>alert(1)</script><img src=x onerror='a'>\"{0}&amp;\u202e\ud800 안녕"
    steps = [
        Step(evil, evil, {evil: evil}, Observation(evil)),
        Step("", "", {}, Observation("", evil)),
    ]
    run = Run(evil, evil, steps, "answer", {"steps": 2, "tokens": 3, "seconds": 0.5})
    page = save_transcript(run, tmp_path / "run.html").read_text("utf-8")
    reader = Reader()
    reader.feed(page)
    assert not {"script", "img", "a", "iframe"} & {*reader.tags}
    assert not {name for name in reader.attributes if name.startswith("on")} | (
        {"src", "href"} & reader.attributes
    )
    assert reader.text.count("<script>alert(1)</script>") == 9
    assert "\u202e" not in page
    assert transcript_page(run) == page
    with pytest.raises(ValueError, match="Run"):
        transcript_page("x")
