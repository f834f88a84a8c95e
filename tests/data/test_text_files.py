"""The user's own files: read as they are, or refused by name."""

import os
import sys
import unicodedata
from pathlib import Path

import pytest

from minillm._files import BadFileError
from minillm.data import read_documents


def test_a_folder_is_read_in_order_without_hidden_empty_and_other_files(tmp_path):
    (tmp_path / "b.md").write_text("# 제목\n\n본문", encoding="utf-8")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.txt").write_text("first", encoding="utf-8")
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "hidden.txt").write_text("hidden")
    (tmp_path / ".secret.txt").write_text("hidden")
    documents = read_documents(tmp_path)
    assert [(d.id, d.title, d.text) for d in documents] == [
        ("a/one.txt", "one", "first"),
        ("b.md", "제목", "# 제목\n\n본문"),
    ]


def test_a_single_file_of_any_suffix_is_read(tmp_path):
    path = tmp_path / "notes.log"
    path.write_bytes(b"\xef\xbb\xbfline one\r\nline two\rline three")
    (document,) = read_documents(str(path))
    assert document.text == "line one\nline two\nline three"
    assert (document.id, document.title) == ("notes.log", "notes")


def test_decomposed_hangul_and_emoji_are_kept_as_they_are(tmp_path):
    text = unicodedata.normalize("NFD", "한국어") + " 👩‍👩‍👧 \t끝"
    (tmp_path / "x.txt").write_bytes(text.encode())
    assert read_documents(tmp_path)[0].text == text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"abc\0def", "binary"),
        ("한국어".encode("cp949"), "not UTF-8.*Notepad.*cp949 -t utf-8 old.txt > new.txt"),
        ("한국어".encode("utf-16"), "UTF-16"),
        (b"x" * 101, "101 bytes"),
        (b"", "no text"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path, content, why):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    for place in (path, tmp_path):
        with pytest.raises(BadFileError, match=rf"(?s){why}") as error:
            read_documents(place, max_bytes=100)
        assert "bad.txt" in str(error.value) or place == tmp_path


def test_a_folder_without_text_and_a_missing_path_are_refused(tmp_path):
    with pytest.raises(BadFileError, match=r"no text file \(\.txt"):
        read_documents(tmp_path)
    with pytest.raises(BadFileError, match="no file or folder"):
        read_documents(tmp_path / "missing")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no named pipes")
def test_a_pipe_is_refused_and_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(BadFileError, match="not a regular file"):
        read_documents(tmp_path / "pipe.txt")
    with pytest.raises(BadFileError, match="no text file"):
        read_documents(tmp_path)


def test_a_link_that_leads_back_does_not_loop(tmp_path):
    (tmp_path / "x.txt").write_text("text")
    try:
        (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("this system does not allow links")
    assert len(read_documents(tmp_path)) == 1


@pytest.mark.parametrize("bad", [None, 3, "", b"path", ["a"]])
def test_a_bad_path_is_refused(bad):
    with pytest.raises(ValueError, match="path"):
        read_documents(bad)


@pytest.mark.parametrize("bad", [0, -1, None, 2.5])
def test_a_bad_limit_is_refused(tmp_path, bad):
    with pytest.raises(ValueError, match="max_bytes"):
        read_documents(tmp_path, bad)


@pytest.mark.skipif(
    os.name != "posix" or sys.platform == "darwin", reason="file names there are always Unicode"
)
def test_a_file_name_that_is_no_text_is_named(tmp_path):
    (tmp_path / "ok.txt").write_text("text")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")).write_text("text")
    with pytest.raises(BadFileError, match=r"name of file '\\udcff\.txt' is not UTF-8"):
        read_documents(tmp_path)


def test_a_folder_that_is_closed_to_us_is_named_and_not_left_out(tmp_path, monkeypatch):
    (tmp_path / "ok.txt").write_text("text")

    def walk(top, onerror):  # root may read every folder
        onerror(PermissionError(13, "Permission denied", str(tmp_path / "closed")))
        return iter([])

    monkeypatch.setattr("minillm.data.text_files.os.walk", walk)
    with pytest.raises(BadFileError, match=r"closed' cannot be read: Permission denied"):
        read_documents(tmp_path)
