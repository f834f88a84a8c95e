"""`minillm ask --generate`: a model's words, numbered sources, and what it does where a model cannot help."""

import json

import pytest

from minillm.cli import main
from minillm.commands import _answering
from minillm.data import Document, split_passages
from minillm.inference import ScriptedChat
from minillm.inference.server import Server
from minillm.search import PassageIndex
from tests.helpers import needs_model
from tests.inference.server.tiny import tiny_engine

DOCUMENTS = [
    Document(
        "bridge", "The Orlen bridge", "The Orlen bridge in Karsk was finished in 1932. It is 412 metres long."
    ),
    Document("zorb", "The zorb", "A zorb is a small copper tool used by bakers in Teral to mark bread."),
    Document("다리", "한빛 다리", "한빛 다리는 1951년에 완성되었다. 길이는 609미터이다."),
]
QUESTION = "How long is the Orlen bridge?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    index = PassageIndex.build(split_passages(DOCUMENTS), steps=2, dim=16, vocab_size=300)
    return index.save(tmp_path_factory.mktemp("ask") / "index")


@pytest.fixture
def run(capsys, folder):
    def call(*arguments):
        code = main(["ask", *map(str, arguments), "--index", str(folder), "--mode", "bm25"])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def script(monkeypatch):
    def with_replies(*replies):
        llm = ScriptedChat(replies)
        monkeypatch.setattr(_answering, "open_here", lambda name: llm)
        return llm

    return with_replies


def test_the_answer_then_its_numbered_sources(run, script):
    llm = script("It is 412 metres long [1][8].")
    code, out, err = run(QUESTION, "--generate")
    assert code == 0
    said, sources = out.split("\n\n")
    assert said == "It is 412 metres long [1]."
    assert sources.startswith("[1] The Orlen bridge (bridge#0): The Orlen bridge in Karsk")
    assert "taken out of the answer: [8]" in err
    assert "412 metres" in llm.asked[0][1]["content"]


def test_json_has_everything(run, script):
    script("It is 412 metres long.")
    figures = json.loads(run(QUESTION, "--generate", "--json")[1])
    assert (figures["response"], figures["declined"], figures["model"]) == (
        "It is 412 metres long.",
        False,
        "smollm2",
    )
    assert figures["sources"][0]["number"] == 1
    assert figures["sources"][0]["text"] == DOCUMENTS[0].text


def test_what_nothing_matches_is_declined_without_a_model(run, script):
    llm = script()
    code, out, _ = run("Will it rain in Paris tomorrow?", "--generate")
    assert (code, llm.asked) == (0, [])
    assert out.startswith("nothing in the index matches well")
    assert json.loads(run("Will it rain in Paris tomorrow?", "--generate", "--json")[1])["declined"] is True


def test_a_korean_question_is_quoted_and_that_is_said(run, script):
    llm = script()
    code, out, err = run("한빛 다리의 길이는 얼마인가요?", "--generate")
    assert (code, llm.asked) == (0, [])
    assert out.startswith("길이는 609미터이다. [1]")
    assert "smollm2 reads English only: the best sentence is quoted" in err


def test_a_model_that_says_nothing_is_one_line(run, script):
    script("")
    code, _, err = run(QUESTION, "--generate")
    assert code == 1
    assert err.startswith("minillm: error: the model said nothing")
    assert err.count("\n") == 1


def test_a_server_answers(run):
    with Server(
        tiny_engine(window=1024, num_blocks=300), port=0, model_name="tiny", max_requests=4
    ) as server:
        code, out, err = run(QUESTION, "--generate", "--server", server.url, "--json")
        assert code == 0, err
        figures = json.loads(out)
        assert figures["model"] == "tiny"
        assert figures["sources"][0]["id"] == "bridge#0"
        code, _, err = run(QUESTION, "--generate", "--server", server.url, "--model", "gpt")
        assert code == 1
        assert "has no model 'gpt'; it has tiny" in err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--model", "smollm2"), "--model needs --generate"),
        (("--server", "http://127.0.0.1:9"), "--server needs --generate"),
        (("--generate", "--api-key", "k"), "--api-key is for --server"),
        (("--generate", "--server", "http://127.0.0.1:9"), "no server answers"),
        (("--generate", "--model", "nothing"), "no model at nothing"),
    ],
)
def test_options_that_do_not_fit(run, options, word):
    code, _, err = run(QUESTION, *options)
    assert code == 1
    assert word in err


@pytest.mark.soak
@needs_model("smollm2")
def test_the_real_model_reads_the_passage(run):
    code, out, _ = run(QUESTION, "--generate", "-k", 1)
    assert code == 0
    assert "412" in out.split("\n\n")[0]
