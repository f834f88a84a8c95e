"""Tables and PDFs as documents, among the user's other files: read, or refused by name."""

import builtins

import pytest

from minillm._files import BadFileError
from minillm.data.pdf_texts import pdf_documents
from minillm.data.text_files import read_files
from tests.data.pdf import pdf_of
from tests.helpers import pyproject


def test_a_row_says_its_columns(tmp_path):
    path = tmp_path / "값.csv"
    path.write_bytes('\ufeff품목,가격,메모\r\n"국화차, 큰 것","3,000",\r\n,,\r\n귤,007,"두\n줄"\r\n'.encode())
    one, two = read_files([path]).documents
    assert (one.id, one.title, one.text) == ("값.csv:1", "국화차, 큰 것", "품목: 국화차, 큰 것\n가격: 3,000")
    assert one.metadata == {"품목": "국화차, 큰 것", "가격": "3,000"}
    assert (two.id, two.text) == ("값.csv:3", "품목: 귤\n가격: 007\n메모: 두\n줄")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a,b\n1,2,3\n", "x.csv"),
        ("값\n".encode("cp949"), "not UTF-8"),
        (b"a,a\n1,2\n", "x.csv"),
        (b"a\0b", "binary"),
    ],
)
def test_a_table_that_is_none_is_named(tmp_path, content, why):
    (tmp_path / "x.csv").write_bytes(content)
    (tmp_path / "ok.txt").write_text("text")
    reading = read_files([tmp_path])
    assert list(reading.refused) == ["x.csv"]
    assert why in reading.refused["x.csv"]


@pytest.mark.parametrize("content", [b"", b"  \n", b"a,b\n"])
def test_an_empty_table_has_no_documents(tmp_path, content):
    (tmp_path / "x.csv").write_bytes(content)
    (tmp_path / "ok.txt").write_text("text")
    assert [one.id for one in read_files([tmp_path]).documents] == ["ok.txt"]


def test_without_pypdf_a_pdf_is_named_and_the_rest_is_read(tmp_path, monkeypatch):
    (tmp_path / "a.pdf").write_bytes(pdf_of([["text"]]))
    (tmp_path / "b.txt").write_text("text")
    real = builtins.__import__

    def without(name, *rest):
        if name == "pypdf":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    reading = read_files([tmp_path])
    assert [one.id for one in reading.documents] == ["b.txt"]
    assert "pip install 'minillm[pdf]'" in reading.refused["a.pdf"]


def test_the_extra_brings_pypdf_and_the_tests_have_it():
    extras = pyproject()["project"]["optional-dependencies"]
    assert any(one.startswith("pypdf") for one in extras["pdf"])
    assert any("pdf" in one for one in extras["test"] if one.startswith("minillm["))


def test_pages_are_documents_korean_too(tmp_path):
    pytest.importorskip("pypdf", reason="needs pypdf: pip install 'minillm[pdf]'")
    (tmp_path / "paper.pdf").write_bytes(
        pdf_of([["The bridge is 412 metres long.", "Second line"], [" "], ["다리는 길다"]])
    )
    one, two = read_files([tmp_path]).documents
    assert (one.id, one.title, one.metadata) == ("paper.pdf:1", "paper, page 1", {"page": 1})
    assert one.text.split("\n") == ["The bridge is 412 metres long.", "Second line"]
    assert (two.id, two.text) == ("paper.pdf:3", "다리는 길다")


def test_pdfs_that_will_not_do_are_named(tmp_path):
    pytest.importorskip("pypdf", reason="needs pypdf: pip install 'minillm[pdf]'")
    whole = pdf_of([["text"]])
    for data, why in ((b"no pdf at all", "no whole PDF"), (pdf_of([[" "], [" "]]), "2 pages hold no text")):
        (tmp_path / "x.pdf").write_bytes(data)
        with pytest.raises(BadFileError, match=rf"x\.pdf.*{why}"):
            read_files([tmp_path / "x.pdf"])
    for length in range(0, len(whole) - 200, 97):  # cut anywhere: repaired or refused, and no other error
        try:
            found = pdf_documents(whole[:length], "x", "x")
        except ValueError:
            continue
        assert [one.text for one in found] == ["text"]
