"""The tree and its times, the page, the command line, tokens and cost."""

import html.parser
import json
import random

import pytest

from minillm import cli
from minillm.apps.tracing import (
    Tracer,
    as_otlp,
    mask_secrets,
    read_trace,
    self_times,
    slowest,
    trace_tree,
    tree_lines,
    usage_by_model,
    waterfall_page,
)
from minillm.apps.tracing.span_file import SpanRecord
from minillm.apps.tracing.tree import MISSING, walk

MS = 1_000_000


def span(number, start, end, parent=None, name="", trace=1, **more):
    """A record from milliseconds and small numbers."""
    fields = {"kind": "internal", "status": "ok", "message": "", "attributes": {}, "events": ()} | more
    above = None if parent is None else f"{parent:016x}"
    own = (f"{trace:032x}", f"{number:016x}", above, name or f"s{number}")
    return SpanRecord(*own, start=start * MS, end=end * MS, **fields)


def test_own_time_is_what_no_child_covers():
    """Against counting milliseconds one by one, children overlapping or sticking out."""
    rng = random.Random(0)
    for _ in range(200):
        records = [span(1, 10, 110)]
        for number in range(2, 2 + rng.randrange(5)):
            start = rng.randrange(0, 110)
            records.append(span(number, start, start + rng.randrange(0, 60), parent=1))
        covered = {ms for one in records[1:] for ms in range(one.start // MS, one.end // MS)}
        expected = sum(ms not in covered for ms in range(10, 110))  # milliseconds
        rng.shuffle(records)
        own = self_times(trace_tree(records))
        assert own[f"{1:016x}"] == pytest.approx(expected / 1000)


def test_the_tree_puts_the_earliest_first_and_says_what_is_missing():
    records = [span(4, 60, 70, 1), span(2, 10, 50, 1), span(3, 20, 30, 2), span(1, 0, 100), span(9, 5, 6, 77)]
    records += [span(7, 8, 9, 77), span(8, 5, 6, 9)]
    records += [span(1, 200, 300, trace=2, name="other")]  # the same number in another trace
    roots = trace_tree(records)
    assert [(one.record.name, one.missing_parent) for one in roots] == [
        ("s1", False),
        ("s9", True),
        ("s7", True),
        ("other", False),
    ]
    assert [node.record.name for _, node in walk(roots[:1])] == ["s1", "s2", "s3", "s4"]
    lines = list(tree_lines(records, times=False))
    assert lines == [
        "s1", "├─ s2", "│  └─ s3", "└─ s4", MISSING, "├─ s9", "│  └─ s8", "└─ s7", "other",
    ]  # fmt: skip


def test_rings_and_depth_of_a_damaged_file_end():
    ring = [span(1, 0, 1, 2), span(2, 0, 1, 3), span(3, 0, 1, 1), span(4, 0, 1, 4)]
    assert sorted(node.record.name for _, node in walk(trace_tree(ring))) == ["s1", "s2", "s3", "s4"]
    deep = [span(n, 0, 1, n - 1 if n else None) for n in range(3_000)]
    assert len(list(tree_lines(deep))) == 3_000
    assert waterfall_page(deep).count("<details") == 2_000


def test_a_line_has_bar_tokens_and_error_and_stays_one_line():
    found = {"gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 3, "error.type": "Timeout\x1b[2J"}
    bad = span(
        2, 50, 100, 1, name="검색\x1b[31m\n빨강\u202e", status="error", message="a\nb", attributes=found
    )
    top, line = tree_lines([span(1, 0, 100), bad])
    assert "100.0 ms  " + "█" * 20 in top
    assert "50.0 ms  " + "·" * 10 + "█" * 10 in line
    assert line.endswith("12 -> 3 tokens, ERROR Timeout\\x1b[2J a\\nb")
    assert line.startswith("└─ 검색\\x1b[31m\\n빨강\\u202e")
    assert all(one.isprintable() for one in (top, line))


def test_the_slowest_is_the_one_with_own_time():
    records = [span(1, 0, 100), span(2, 5, 95, 1), span(3, 10, 90, 2, name="slow")]
    assert [(one.name, own) for one, own in slowest(records, 2)] == [("slow", 0.08), ("s1", 0.01)]


def test_tokens_and_cost_by_hand():
    def call(number, model, read=None, written=None, status="ok"):
        found = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
        found |= (
            {} if read is None else {"gen_ai.usage.input_tokens": read, "gen_ai.usage.output_tokens": written}
        )
        return span(number, 0, 100, attributes=found, status=status)

    records = [
        call(1, "a", 1000, 200),
        call(2, "a", 500, 50),
        call(3, "a"),
        call(4, "b", 7, 8, "error"),
        span(5, 0, 9),
    ]
    used = usage_by_model(records, {"a": (2.0, 10.0)})
    assert list(used) == ["a", "b"]
    assert (used["a"].calls, used["a"].uncounted, used["a"].input_tokens, used["a"].output_tokens) == (
        3,
        1,
        1500,
        250,
    )
    assert used["a"].cost == pytest.approx((1500 * 2 + 250 * 10) / 1e6)
    assert (used["b"].errors, used["b"].cost) == (1, None)
    for price in (3, (1,), (1, -1), "ab"):
        with pytest.raises(ValueError, match="price"):
            usage_by_model(records, {"a": price})


@pytest.mark.parametrize("read", [trace_tree, slowest, usage_by_model, waterfall_page, as_otlp, tree_lines])
@pytest.mark.parametrize("given", [None, 3, "run.jsonl", [3], [span(1, 0, 9), {}]])
def test_what_is_no_list_of_spans_is_refused(read, given):
    with pytest.raises(ValueError, match="SpanRecords, got"):
        list(read(given))


def test_the_whole_answer_of_read_trace_is_no_list_of_spans(tmp_path):
    """What is tried first: `read_trace(path)` without its `.records`."""
    with Tracer(tmp_path / "a.jsonl") as tracer, tracer.trace("a"):
        pass
    with pytest.raises(ValueError, match=r"give its \.records"):
        slowest(read_trace(tmp_path / "a.jsonl"))
    for count in (-1, 1.5, "3", True):
        with pytest.raises(ValueError, match="count must be"):
            slowest([span(1, 0, 9)], count)
    with pytest.raises(ValueError, match="prices must be"):
        usage_by_model([], [("a", 1)])
    with pytest.raises(ValueError, match="text must be a str"):
        mask_secrets(b"sk-abcdefghijklmnop1234")


class Page(html.parser.HTMLParser):
    """What a browser would see."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.styles = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_the_page_is_escaped_and_needs_nothing_else():
    attack = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&</pre></details>\ud800"
    records = [
        span(1, 0, 100, name=attack),
        span(
            2, 25, 75, 1, status="error", message=attack, attributes={attack: [attack], "error.type": attack}
        ),
    ]
    text = waterfall_page(records, title=attack)
    text.encode("utf-8")
    page = Page(text)
    names = {tag for tag, _ in page.tags}
    assert names == {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "details", "summary", "span", "pre",
    }  # fmt: skip
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert not [attributes for _, attributes in page.tags if {"src", "href"} & set(attributes)]
    policy = [one["content"] for tag, one in page.tags if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert page.text.count("<script>alert(1)</script>") >= 6
    bars = [one["style"] for tag, one in page.tags if one.get("class") == "bar"]
    assert bars == ["left:0.00%;width:100.00%", "left:25.00%;width:50.00%"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.jsonl"
    with Tracer(path, seed=0) as tracer:
        for question in ("첫째", "둘째"):
            with tracer.trace("answer", question=question) as span:
                span.tokens(10, 2).set("gen_ai.request.model", "m").set("gen_ai.operation.name", "chat")
    return path


def test_the_commands(file, capsys):
    assert cli.main(["trace", "show", str(file), "--price", "m=1,2"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("10 -> 2 tokens") == 2
    assert "m: 2 calls, 0 errors, 20 tokens read, 4 written, cost 2.8e-05" in shown
    wanted = read_trace(file).records[1].trace_id
    assert cli.main(["trace", "show", str(file), "--trace", wanted[:9], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["attributes"]["question"] for one in found["spans"]] == ["둘째"]
    assert cli.main(["trace", "html", str(file)]) == 0
    assert file.with_suffix(".html").read_text("utf-8").count("<details") == 2
    assert cli.main(["trace", "otlp", str(file), "--json"]) == 0
    assert len(json.loads(file.with_suffix(".otlp.json").read_text("utf-8"))["resourceSpans"]) == 1


def test_a_dash_is_standard_output(file, capsys, monkeypatch):
    """For a pipe into a collector; once it was a file of that name."""
    monkeypatch.chdir(file.parent)
    assert cli.main(["trace", "otlp", str(file), "--out", "-"]) == 0
    assert len(json.loads(capsys.readouterr().out)["resourceSpans"]) == 1
    assert cli.main(["trace", "html", str(file), "--out", "-"]) == 0
    assert capsys.readouterr().out.count("<details") == 2
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_the_commands_refuse_by_name(file, capsys):
    before = file.read_bytes()
    for arguments, said in [
        (["show", str(file), "--trace", "zz"], "no trace whose id begins with zz"),
        (["show", str(file.with_name("none"))], "cannot be read"),
        (["show", str(file), "--price", "m=1"], "--price must be MODEL=READING,WRITING"),
        (["html", str(file), "--out", str(file)], "--out must not be the trace itself"),
    ]:
        assert cli.main(["trace", *arguments]) == 1
        assert said in capsys.readouterr().err
    assert file.read_bytes() == before
    file.write_bytes(before + before[:30])
    assert cli.main(["trace", "show", str(file)]) == 0
    assert "1 lines hold half a span" in capsys.readouterr().err
    file.write_bytes(b"")
    assert cli.main(["trace", "show", str(file)]) == 1
    assert "holds no span yet" in capsys.readouterr().err
