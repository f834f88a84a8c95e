"""The reference and the docstrings, against what Python itself says."""

import ast
import importlib
import inspect
import sys

import pytest

from minillm._files import BadFileError
from minillm.data import python_docs, python_questions, read_questions, split_passages, standard_library_docs
from tests.helpers import cuts


def test_reference_is_what_help_shows():
    from pydoc_data.topics import topics

    documents = python_docs()
    assert [document.id for document in documents] == sorted(topics)
    assert all(document.text == topics[document.id] for document in documents)
    assert {d.id: d.title for d in documents}["with"] == 'The "with" statement'
    assert 300_000 < sum(len(document.text) for document in documents) < 800_000


def test_a_python_without_topics_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ValueError, match=r"no pydoc_data\.topics"):
        python_docs()


def test_docstrings_equal_those_of_the_imported_modules():
    documents = {document.id: document for document in standard_library_docs()}
    for name in ("json", "textwrap", "heapq", "fractions", "email.message"):
        module = importlib.import_module(name)
        assert inspect.getdoc(module).strip() in documents[name].text
    passages = {p.title: p for p in split_passages([documents["textwrap"]], max_words=500)}
    assert " ".join(inspect.getdoc(importlib.import_module("textwrap").dedent).split()) == " ".join(
        passages["textwrap.dedent"].text.split()
    )


def test_standard_library_is_large_ordered_and_free_of_tests():
    documents = standard_library_docs()
    names = [document.id for document in documents]
    assert names == sorted(names)
    assert len(set(names)) == len(names) > 300
    assert not [
        name for name in names if name.split(".")[0] in {"test", "site-packages", "idlelib.idle_test"}
    ]
    assert 1_000_000 < sum(len(document.text) for document in documents) < 4_000_000
    assert documents == standard_library_docs()
    "".join(document.text for document in documents).encode("utf-8")


def test_no_module_is_imported_to_read_its_docstring():
    sys.modules.pop("antigravity", None)
    standard_library_docs()
    assert "antigravity" not in sys.modules  # importing it would open a browser


def test_a_library_without_sources_is_named(monkeypatch, tmp_path):
    from minillm.data import python_reference

    python_reference._standard_library_docs.cache_clear()
    monkeypatch.setattr(python_reference.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    try:
        (tmp_path / "broken.py").write_text("def (")
        with pytest.raises(ValueError, match="no Python source"):
            standard_library_docs()
        (tmp_path / "fine.py").write_text('"""한국어 문서"""\nif True:\n    def f():\n        """inside"""\n')
        (document,) = standard_library_docs()
        assert document.text == "fine\n****\n\n한국어 문서\n\n\nfine.f\n======\n\ninside\n"
        assert ast.get_docstring(ast.parse((tmp_path / "fine.py").read_text())) in document.text
    finally:
        python_reference._standard_library_docs.cache_clear()


def test_there_are_enough_different_questions_of_every_kind():
    questions = python_questions()
    assert len(questions) >= 100
    assert len({question.text for question in questions}) == len(questions)
    kinds = [question.kind for question in questions]
    assert {kind: kinds.count(kind) >= 10 for kind in set(kinds)} == dict.fromkeys(
        ("keyword", "paraphrase", "symptom", "learner", "hard", "first"), True
    )


@pytest.mark.parametrize("question", python_questions(), ids=lambda question: question.text[:40])
def test_gold_sections_exist_and_hold_the_answer(question):
    documents = {document.id: document.text for document in python_docs()}
    assert set(question.gold) <= set(documents)
    # 3.14 rewrote some sections; phrases were checked word for word up to 3.13
    if sys.version_info < (3, 14):
        assert any(" ".join(p.lower().split()) in " ".join(documents[g].lower().split())
                   for g in question.gold for p in question.evidence)  # fmt: skip


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="evidence phrases were checked up to CPython 3.13")
@pytest.mark.parametrize("max_words", [60, 120, 200])
def test_some_passage_answers_every_question(max_words):
    passages = split_passages(python_docs(), max_words)
    missing = [q.text for q in python_questions() if not any(q.answered_by(passage) for passage in passages)]
    assert missing == []


def test_questions_do_not_copy_headings():
    titles = {document.title.lower().strip('"') for document in python_docs()}
    assert not [q.text for q in python_questions() if q.text.lower().strip("?") in titles]


def test_a_question_file_cut_anywhere_is_refused(tmp_path):
    path = tmp_path / "questions.json"
    whole = '[{"question": "왜?", "gold": ["with"], "evidence": ["phrase"]}]'.encode()
    path.write_bytes(whole)
    assert read_questions(path)[0].gold == ("with",)
    for length in cuts(whole):
        path.write_bytes(whole[:length])
        with pytest.raises(BadFileError, match=r"questions\.json"):
            read_questions(path)


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", "[1]", '[{"question": "q"}]', '[{"question": "", "gold": ["a"]}]', '[{"question": "q", "gold": "a"}]',
     '[{"question": "q", "gold": [1]}]', '[{"question": "q", "gold": ["a"], "evidence": "x"}]',
     '[{"question": "q", "gold": ["a"], "kind": 3}]'],
)  # fmt: skip
def test_a_question_file_of_another_form_is_refused(tmp_path, text):
    path = tmp_path / "questions.json"
    path.write_text(text)
    with pytest.raises(BadFileError, match=r"questions\.json"):
        read_questions(path)
