"""Whether a folder can be written to is found out before the work, and leaves nothing behind."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from minillm.course.paths import check_out, find_part, tour_folder


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="folders are closed in another way on this system")
def test_a_closed_folder_is_refused_with_the_reason():
    """As an ordinary user: root may write anywhere."""
    us = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        closed = Path(folder) / "closed"
        closed.mkdir()
        Path(folder).chmod(0o755)
        closed.chmod(stat.S_IREAD | stat.S_IEXEC | 0o055)
        try:
            if us == 0:
                os.seteuid(65534)
            for out in (closed, closed / "model", closed / "a" / "b"):
                with pytest.raises(
                    ValueError, match=r"cannot write to folder .*closed.* \(Permission denied\)"
                ):
                    check_out(out)
        finally:
            os.seteuid(us)
            closed.chmod(0o755)
        assert os.listdir(closed) == []


def test_a_folder_that_can_be_made_is_not_made_yet(tmp_path):
    assert check_out(tmp_path / "a" / "b", "model", "index") == tmp_path / "a" / "b"
    assert os.listdir(tmp_path) == []
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "index").write_text("")
    with pytest.raises(ValueError, match=r"index is no folder"):
        check_out(tmp_path / "a", "model", "index")
    if os.name == "posix":  # where a link needs no rights of its own
        os.symlink(tmp_path / "gone", tmp_path / "link")
        with pytest.raises(ValueError, match=r"link is no folder"):
            check_out(tmp_path / "link" / "below")


def test_a_part_is_the_folder_itself_or_stands_in_the_folder_of_a_tour(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tour_folder() == tmp_path / "tour"
    model = tmp_path / "tour" / "model"
    (model / "model").mkdir(parents=True)  # a model folder may hold a folder of that name
    (model / "config.json").write_text("{}")
    assert find_part(None, "model") == find_part(Path("tour"), "model").absolute() == model
    assert find_part(model, "model") == model
    with pytest.raises(ValueError, match=r"no index at .*: run `minillm tour` here first"):
        find_part(None, "index")
    with pytest.raises(ValueError, match=r"neither passages\.json nor index/"):
        find_part(tmp_path / "tour", "index")


def test_every_name_of_the_course_is_there_when_it_is_asked_for():
    from minillm import course

    assert {name: getattr(course, name).__name__ for name in course.__all__} == {
        name: name for name in course.__all__
    }
    assert set(course.__all__) <= set(dir(course))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        course.nonsense  # noqa: B018
