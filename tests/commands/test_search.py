"""`minillm index`, `search` and `ask` as a user types them."""

import json
import sys

import pytest

from minillm.cli import main
from minillm.commands.search import declining_in_words
from minillm.data import python_docs, split_passages
from minillm.search import PassageIndex

KEPT = ("with", "try", "comparisons", "calls", "function", "global", "for", "operator-summary")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    passages = split_passages([one for one in python_docs() if one.id in KEPT], max_words=150)
    index = PassageIndex.build(passages, steps=20, dim=32, vocab_size=600)
    return index.save(tmp_path_factory.mktemp("search") / "index")


@pytest.fixture
def run(capsys, folder):
    def call(*arguments):
        assert main([*map(str, arguments), "--index", str(folder)]) == 0
        return capsys.readouterr().out

    return call


def test_search_shows_the_part_that_matched_and_json_says_where(run):
    out = run("search", "exception handler", "-k", 2, "--mode", "bm25")
    assert "exception" in out.split("\n")[1].lower()
    rows = json.loads(run("search", "exception handler", "-k", 2, "--mode", "bm25", "--json"))
    assert [row["rank"] for row in rows] == [1, 2]
    for row in rows:
        part = row["snippet"]
        assert row["text"][part["start"] : part["end"]] == part["text"]
        assert len(part["text"]) <= 200
        found = {row["text"][start:end].lower() for start, end in part["matches"]}
        assert found
        assert found <= {"exception", "handler"}


def test_matches_are_bold_on_a_terminal_only_and_not_with_no_color(run, monkeypatch):
    assert "\033[" not in run("search", "exception")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\033[1mexception\033[0m" in run("search", "exception").lower()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033[" not in run("search", "exception")


def test_ask_quotes_one_passage_and_lists_more_with_k(run):
    out = run("ask", "What does the global statement do?")
    assert out.startswith('The "global" statement [global#')
    assert run("ask", "What does the global statement do?", "-k", 3).count("[") > out.count("[")
    answer = json.loads(run("ask", "What does the global statement do?", "-k", 3, "--json"))
    assert answer["declined"] is False
    assert len(answer["others"]) == 2
    assert answer["method"] in ("bm25", "dense", "hybrid", "weighted")


@pytest.mark.parametrize(
    "question",
    ["How do I reshape a numpy array in pandas?", "qwxyz", "", "???", "내일 부산 날씨가 어때요?", "the of a"],
)
@pytest.mark.parametrize("method", ["auto", "bm25", "dense", "hybrid", "weighted"])
def test_what_nothing_answers_is_declined(run, question, method):
    answer = json.loads(run("ask", question, "--method", method, "--json"))
    assert answer["declined"] is True
    assert run("ask", question, "--mode", method).startswith("nothing in the index matches well")


def test_the_help_of_ask_says_the_figures(capsys):
    with pytest.raises(SystemExit):
        main(["ask", "--help"])
    assert " ".join(declining_in_words().split()) in " ".join(capsys.readouterr().out.split())


def test_an_index_prints_how_it_graded_itself(tmp_path, capsys):
    text = tmp_path / "text"
    text.mkdir()
    for document in python_docs()[:12]:
        (text / f"{document.id}.txt").write_text(document.text, encoding="utf-8")
    assert main(["index", "--data", str(text), "--out", str(tmp_path / "index")]) == 0
    out = capsys.readouterr().out
    for word in ("bm25", "dense", "hybrid", "weighted", "hit@1", "MRR", "chosen", "were grading"):
        assert word in out
    saved = json.loads((tmp_path / "index" / "choice.json").read_text(encoding="utf-8"))
    assert f"{saved['queries']} queries: sentences and titles that were taken out of the text." in out
    for column in ("hit@1, hit@5: the share", "MRR: the mean of 1 / its place"):
        assert column in " ".join(out.split())
    assert main(["ask", "when is an assertion checked", "--index", str(tmp_path / "index")]) == 0


def test_a_few_short_notes_are_enough_for_an_index(tmp_path, capsys):
    """The 10,000 characters that a language model needs are not asked of somebody who only searches."""
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "고양이.txt").write_text("고양이는 하루에 열두 시간 넘게 잔다.", encoding="utf-8")
    (notes / "개.txt").write_text("개는 산책을 좋아한다.", encoding="utf-8")
    assert main(["index", "--data", str(notes), "--out", str(tmp_path / "index")]) == 0
    out = capsys.readouterr().out
    assert "2 passages from 2 documents" in out
    assert "not graded: the text holds fewer than 30 sentences" in out
    assert main(["ask", "고양이는 얼마나 자나요?", "--index", str(tmp_path / "index"), "--mode", "bm25"]) == 0
    assert "고양이는 하루에" in capsys.readouterr().out


def test_one_passage_makes_no_index_and_it_is_said_in_plain_words(tmp_path, capsys):
    note = tmp_path / "note.txt"
    note.write_text("고양이는 하루에 열두 시간 넘게 잔다.", encoding="utf-8")
    assert main(["index", "--data", str(note), "--out", str(tmp_path / "index")]) == 1
    assert "an index needs two passages at least, of up to 150 words each, and this text makes 1" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("query", ["   ", "?", "?!", "\n"])
@pytest.mark.parametrize("method", ["auto", "dense"])
def test_a_query_without_words_finds_nothing(run, query, method):
    assert run("search", query, "--mode", method) == "nothing in the index matches well\n"
    assert run("ask", query, "--mode", method) == "nothing in the index matches well\n"


def test_an_operator_is_a_query(run):
    assert json.loads(run("search", ":=", "--json"))
