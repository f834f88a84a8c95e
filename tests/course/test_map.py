"""The map of the book holds every section, agrees with the files that exist, and with the README."""

from __future__ import annotations

import dataclasses
import json

import pytest

from minillm._files import BadFileError
from minillm.course.lessons import map as course_map
from minillm.course.lessons.map import BEGIN, END, headings, load_map, problems, table, with_table
from minillm.course.paths import checkout
from tests.helpers import cuts

PATH = checkout() / "notebooks" / "course.toml"
START, STOP = course_map.PROGRESS

# How many sections each chapter of the book has, summaries (정리) included: the printed table of contents.
SECTIONS = {
    1: 5,
    2: 9,
    3: 6,
    4: 4,
    5: 6,
    6: 4,
    7: 4,
    8: 5,
    9: 5,
    10: 6,
    11: 6,
    12: 6,
    13: 4,
    14: 5,
    15: 5,
    16: 5,
}

# How many subsections x.y.z: the publisher's table of contents (which prints 13.3.4 twice; the second is 13.3.5 here).
SUBSECTIONS = {
    1: 10,
    2: 14,
    3: 12,
    4: 10,
    5: 13,
    6: 12,
    7: 7,
    8: 11,
    9: 9,
    10: 16,
    11: 8,
    12: 17,
    13: 12,
    14: 12,
    15: 10,
    16: 3,
}


@pytest.fixture(scope="module")
def course():
    return load_map(PATH)


def test_every_section_of_the_book_is_there(course):
    assert {chapter.number: len(chapter.sections) for chapter in course.chapters} == SECTIONS
    titles = {section.number: section.korean for chapter in course.chapters for section in chapter.sections}
    assert titles["2.3"] == "어텐션 이해하기"
    assert titles["7.1"] == "언어 모델 추론 이해하기"
    assert titles["10.4"] == "검색 방식을 조합해 성능 높이기"
    assert titles["16.5"] == "코드로 보는 맘바"


def test_every_subsection_of_the_book_is_there(course):
    parts = {c.number: [part for section in c.sections for part in section.parts] for c in course.chapters}
    assert {number: len(of_chapter) for number, of_chapter in parts.items()} == SUBSECTIONS
    titles = {part.number: part.korean for of_chapter in parts.values() for part in of_chapter}
    assert titles["2.3.4"] == "멀티 헤드 어텐션"
    assert titles["7.1.2"] == "중복 연산을 줄이는 KV 캐시"
    assert titles["12.2.4"] == "계층 구조"


def test_the_map_agrees_with_the_repository(course):
    assert problems(course, checkout()) == []


def test_the_readme_has_the_table_of_the_map(course):
    readme = (checkout() / "README.md").read_text(encoding="utf-8")
    assert with_table(readme, course) == readme, "run: python -m minillm.course.lessons.map --write"


def changed(course, **changes):
    lesson = course.lessons["02_1"]
    return dataclasses.replace(
        course, lessons=course.lessons | {"02_1": dataclasses.replace(lesson, **changes)}
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"file": "02_1_nowhere.ipynb"}, "names notebooks/02_1_nowhere.ipynb, which does not exist"),
        ({"file": "99_1_other.ipynb"}, "its file must be 02_1_name.ipynb"),
        ({"library": ("minillm/nowhere.py",)}, "names minillm/nowhere.py, which does not exist"),
        ({"tests": ()}, "needs library files and tests"),
        ({"minutes": 999}, "lesson 02_1 takes 999 minutes in the map"),
    ],
)
def test_a_ready_lesson_must_exist(course, changes, said):
    assert any(said in found for found in problems(changed(course, ready=True, **changes), checkout()))


def with_section(course, number, **changes):
    """The map with one section changed."""
    chapters = []
    for chapter in course.chapters:
        sections = list(chapter.sections)
        for place, section in enumerate(sections):
            if section.number == number:
                sections[place] = dataclasses.replace(section, **changes)
        chapters.append(dataclasses.replace(chapter, sections=tuple(sections)))
    return dataclasses.replace(course, chapters=tuple(chapters))


def section_of(course, number):
    return next(s for chapter in course.chapters for s in chapter.sections if s.number == number)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (
            {"heading": "No such heading"},
            "2.3.1 should be taught under 'No such heading', which 02_3_attention",
        ),
        ({"lesson": "16_4"}, "subsection 2.3.1 is taught in 16_4, no lesson of 2.3"),
        ({"number": "2.3.9"}, "subsections of 2.3 must be numbered"),
        ({"korean": ""}, "subsection 2.3.1 needs a title in both languages"),
    ],
)
def test_a_subsection_is_held_against_its_lesson(course, part, said):
    section = section_of(course, "2.3")
    parts = (dataclasses.replace(section.parts[0], **part), *section.parts[1:])
    assert any(said in found for found in problems(with_section(course, "2.3", parts=parts), checkout()))


def test_a_heading_of_a_lesson_that_is_not_written_is_refused(course):
    lessons = course.lessons | {"16_1": dataclasses.replace(course.lessons["16_1"], ready=False)}
    course = dataclasses.replace(course, lessons=lessons)
    assert "16.1 has a heading, but its lesson 16_1 is not ready" in problems(
        with_section(course, "16.1", heading="The cell"), checkout()
    )


def test_a_ready_lesson_says_where_it_teaches_each_part(course):
    section = next(s for c in course.chapters for s in c.sections if s.number == "5.1")
    parts = (dataclasses.replace(section.parts[0], heading=""), *section.parts[1:])
    assert "5.1.1: 05_1 is ready, the heading that teaches it is missing" in problems(
        with_section(course, "5.1", parts=parts), checkout()
    )


def test_a_section_is_ready_when_all_its_headings_are_taught(course):
    section = section_of(course, "2.3")
    taught = [dataclasses.replace(part, heading="x") for part in section.parts]
    assert dataclasses.replace(section, parts=tuple(taught)).ready
    assert not dataclasses.replace(
        section, parts=(*taught[:-1], dataclasses.replace(taught[-1], heading=""))
    ).ready


def test_headings_are_those_of_markdown_cells_outside_code(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": "# One\ntext\n### Two *b*\n```\n# not this\n```\n#nor this"},
        {"cell_type": "code", "source": "# nor this", "outputs": []},
    ]
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    assert headings(path) == ["One", "Two *b*"]


def test_optional_parts_are_those_of_the_notebook(course):
    found = problems(changed(course, needs=("smollm2",)), checkout())
    assert any("lesson 02_1 needs smollm2 in the map, its cells say" in line for line in found)


def test_a_notebook_off_the_map_is_found(course, tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "99_9_lost.ipynb").write_text("{}")
    assert "notebooks/99_9_lost.ipynb is not a ready lesson of the map" in problems(course, tmp_path)


def test_lessons_and_sections_must_name_each_other(course):
    lessons = dict(course.lessons)
    lessons["98_1"] = dataclasses.replace(lessons.pop("16_4"), id="98_1")
    found = problems(dataclasses.replace(course, lessons=lessons), checkout())
    assert "lesson 16_4 is in a section but not among the lessons" in found
    assert "lesson 98_1 belongs to no section" in found
    chapters = (
        dataclasses.replace(course.chapters[0], sections=course.chapters[0].sections[1:]),
        *course.chapters[1:],
    )
    found = problems(dataclasses.replace(course, chapters=chapters), checkout())
    assert "sections must be numbered 1, 2, 3, ... within their chapter" in found
    found = problems(dataclasses.replace(course, chapters=course.chapters[:-1]), checkout())
    assert "the book has chapters 1 to 16, in order" in found


def test_the_table_lists_ready_lessons_with_links_and_every_section(course):
    text = table(course)
    for lesson in course.lessons.values():
        assert (f"[{lesson.id} {lesson.title}](notebooks/{lesson.file})" in text) == lesson.ready
    for chapter in course.chapters:
        for section in chapter.sections:
            assert f"| {section.number} | {section.korean} |" in text
            for part in section.parts:
                assert f"| {part.number} | {part.korean} |" in text
    assert "[02_3: Many heads](notebooks/02_3_attention.ipynb#Many-heads)" in text


def test_the_table_goes_between_its_markers_and_nowhere_else(course):
    readme = f"# minillm\n\n{START}\n{STOP}\n\nbetween\n\n{BEGIN}\nwhat stood here\n{END}\n\nafter\n"
    fresh = with_table(readme, course)
    assert fresh.startswith("# minillm\n\n")
    assert fresh.endswith(f"{END}\n\nafter\n")
    assert "what stood here" not in fresh
    assert f"{START}\n\n{course_map.progress(course)}\n\n{STOP}\n\nbetween\n" in fresh
    assert with_table(fresh, course) == fresh
    for broken in ("# minillm", BEGIN, END + BEGIN, readme + BEGIN, readme.replace(START, "")):
        with pytest.raises(ValueError, match="once each"):
            with_table(broken, course)


def test_the_progress_counts_what_is_ready_and_what_is_planned(course):
    lessons = {name: dataclasses.replace(lesson, ready=False) for name, lesson in course.lessons.items()}
    assert "**0 of" in course_map.progress(dataclasses.replace(course, lessons=lessons))
    for name in ("02_1", "02_3", "16_4"):
        lessons[name] = dataclasses.replace(lessons[name], ready=True)
    assert course_map.progress(dataclasses.replace(course, lessons=lessons)) == (
        f"**3 of {len(lessons)} lessons are ready** (chapters 2, 16); the other {len(lessons) - 3} are planned."
    )


def test_the_command_writes_and_then_agrees(monkeypatch, tmp_path, capsys):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "course.toml").write_bytes(PATH.read_bytes())
    readme = tmp_path / "README.md"
    readme.write_text(f"{START}\n{STOP}\n{BEGIN}\n{END}\n", encoding="utf-8")
    monkeypatch.setattr(course_map, "checkout", lambda: tmp_path)
    course_map.main([])
    assert "the table is not what the map says" in capsys.readouterr().out
    course_map.main(["--write"])
    assert "table written" in capsys.readouterr().out
    course_map.main([])
    assert "the table" not in capsys.readouterr().out
    readme.write_text("no markers", encoding="utf-8")
    assert course_map.main(["--write"]) == 1
    assert readme.read_text(encoding="utf-8") == "no markers"


def test_a_map_cut_anywhere_is_refused_or_incomplete(tmp_path):
    """TOML has no end mark, so a file cut between two tables parses; `problems` must then see the gap."""
    whole = PATH.read_bytes()
    path = tmp_path / "course.toml"
    for length in cuts(whole.rstrip(b"\n")):
        path.write_bytes(whole[:length])
        try:
            course = load_map(path)
        except BadFileError:
            continue
        assert problems(course, checkout())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "book = 3",
        "[book]\n[[chapters]]\nnumber = 1",
        'chapters = []\n[book]\n[lessons.01_1]\ntitle = "x"\nminutes = 3\nstate = "soon"',
    ],
)
def test_a_damaged_map_is_refused_by_name(tmp_path, text):
    path = tmp_path / "course.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadFileError, match=r"course\.toml"):
        load_map(path)
    with pytest.raises(BadFileError, match="missing"):
        load_map(tmp_path / "missing.toml")
