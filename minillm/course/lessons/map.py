"""The map of the book, notebooks/course.toml, and the README's table and count of lessons made from it.

python -m minillm.course.lessons.map            hold the map and the README against what exists
python -m minillm.course.lessons.map --write    also bring the README's table up to date
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minillm._files import BadFileError, read_bytes, write_whole
from minillm.course.lessons.ids import check_lesson_id, is_lesson_file, lesson_of_file
from minillm.course.lessons.notebooks import read_notebook, source
from minillm.course.paths import checkout

BEGIN = "<!-- course map -->"
END = "<!-- /course map -->"
PROGRESS = ("<!-- course progress -->", "<!-- /course progress -->")


@dataclass(frozen=True)
class Section:
    """One section of the book, such as 2.3 어텐션 이해하기, and the ids of the lessons that cover it."""

    number: str
    korean: str
    english: str
    lessons: tuple[str, ...]


@dataclass(frozen=True)
class Chapter:
    """One chapter of the book."""

    number: int
    korean: str
    english: str
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Lesson:
    """One lesson: its title, minutes on two cores, and, when ready, its notebook, library files and tests."""

    id: str
    title: str
    minutes: int
    ready: bool
    file: str = ""
    library: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


@dataclass(frozen=True)
class CourseMap:
    """The book's chapters, and the lessons by id."""

    book: dict[str, Any]
    chapters: tuple[Chapter, ...]
    lessons: dict[str, Lesson]


def load_map(path: str | Path) -> CourseMap:
    """Read course.toml; BadFileError naming the file when it is damaged or lacks a field."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib

    text = read_bytes(path, "course map").decode("utf-8", errors="replace")
    try:
        data = tomllib.loads(text)
        chapters = tuple(
            Chapter(
                one["number"],
                one["korean"],
                one["english"],
                tuple(
                    Section(**section | {"lessons": tuple(section["lessons"])}) for section in one["sections"]
                ),
            )
            for one in data["chapters"]
        )
        lessons = {name: _lesson(name, dict(fields)) for name, fields in data["lessons"].items()}
        return CourseMap(data["book"], chapters, lessons)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadFileError(f"course map {str(path)!r} is refused: {type(error).__name__}: {error}") from None


def _lesson(name: str, fields: dict[str, Any]) -> Lesson:
    state = fields.pop("state")
    if state not in {"ready", "planned"}:
        raise ValueError(f"state of lesson {name} must be ready or planned, got {state!r}")
    for key in ("library", "tests"):
        fields[key] = tuple(fields.get(key, ()))
    return Lesson(check_lesson_id(name), ready=state == "ready", **fields)


def problems(course: CourseMap, root: Path) -> list[str]:
    """What in the map does not match the repository at `root`; an empty list when all is well."""
    found = []
    numbers = [section.number for chapter in course.chapters for section in chapter.sections]
    expected = [
        f"{chapter.number}.{index}"
        for chapter in course.chapters
        for index in range(1, len(chapter.sections) + 1)
    ]
    if [chapter.number for chapter in course.chapters] != list(range(1, 17)):
        found.append("the book has chapters 1 to 16, in order")
    if numbers != expected:
        found.append("sections must be numbered 1, 2, 3, ... within their chapter")
    named = {
        lesson for chapter in course.chapters for section in chapter.sections for lesson in section.lessons
    }
    for chapter in course.chapters:
        for section in chapter.sections:
            if (
                not section.lessons
                or not section.english
                or not re.search(r"[\uac00-\ud7a3A-Z]", section.korean)
            ):
                found.append(f"section {section.number} needs a title in both languages and a lesson")
    found += [
        f"lesson {name} is in a section but not among the lessons"
        for name in sorted(named - set(course.lessons))
    ]
    found += [f"lesson {name} belongs to no section" for name in sorted(set(course.lessons) - named)]
    for lesson in course.lessons.values():
        if not lesson.ready:
            continue
        if not is_lesson_file(lesson.file) or lesson_of_file(lesson.file) != lesson.id:
            found.append(
                f"lesson {lesson.id} is ready: its file must be {lesson.id}_name.ipynb, got {lesson.file!r}"
            )
        if not lesson.library or not lesson.tests:
            found.append(f"lesson {lesson.id} is ready: it needs library files and tests")
        for path in (f"notebooks/{lesson.file}", *lesson.library, *lesson.tests):
            if not (root / path).exists():
                found.append(f"lesson {lesson.id} names {path}, which does not exist")
        if (root / "notebooks" / lesson.file).is_file():
            found += _minutes(lesson, root / "notebooks" / lesson.file)
    mapped = {lesson.file for lesson in course.lessons.values() if lesson.ready}
    for notebook in sorted((root / "notebooks").glob("*.ipynb")):
        if notebook.name not in mapped:
            found.append(f"notebooks/{notebook.name} is not a ready lesson of the map")
    return found


def _minutes(lesson: Lesson, path: Path) -> list[str]:
    """A break when the map and the lesson's title disagree on how long it takes."""
    title = "".join(source(cell) for cell in read_notebook(path)["cells"][:1])
    said = re.search(r"(\d+) minutes", title)
    if said and int(said[1]) == lesson.minutes:
        return []
    return [
        f"lesson {lesson.id} takes {lesson.minutes} minutes in the map, {said[1] if said else 'none'} in its title"
    ]


def table(course: CourseMap) -> str:
    """The README's part: a table of the lessons that are ready, and the whole book folded under it."""
    lines = ["| lesson | book | what it builds | minutes |", "|---|---|---|---|"]
    for lesson in course.lessons.values():
        if lesson.ready:
            sections = [
                f"{section.number} {section.korean}"
                for chapter in course.chapters
                for section in chapter.sections
                if lesson.id in section.lessons and section.korean != "정리"
            ]
            library = " ".join(f"[{Path(path).name}]({path})" for path in lesson.library)
            link = f"[{lesson.id} {lesson.title}](notebooks/{lesson.file})"
            lines.append(f"| {link} | {'<br>'.join(sections)} | {library} | {lesson.minutes} |")
    done = sum(lesson.ready for lesson in course.lessons.values())
    lines += [
        "",
        "<details>",
        f"<summary>The whole book, section by section: {done} of {len(course.lessons)} lessons are ready</summary>",
        "",
        "| section | 책의 절 | in English | lesson |",
        "|---|---|---|---|",
    ]
    for chapter in course.chapters:
        lines.append(f"| **{chapter.number}** | **{chapter.korean}** | **{chapter.english}** | |")
        for section in chapter.sections:
            links = ", ".join(
                _link(course.lessons[name]) for name in section.lessons if name in course.lessons
            )
            lines.append(f"| {section.number} | {section.korean} | {section.english} | {links} |")
    return "\n".join([*lines, "", "</details>"])


def _link(lesson: Lesson) -> str:
    return f"[{lesson.id}](notebooks/{lesson.file})" if lesson.ready else f"{lesson.id}, planned"


def progress(course: CourseMap) -> str:
    """README's first fact: how many lessons are ready, of which chapters, and how many are planned."""
    ready = [lesson.id for lesson in course.lessons.values() if lesson.ready]
    chapters = dict.fromkeys(str(int(lesson.split("_")[0])) for lesson in ready)
    return (
        f"**{len(ready)} of {len(course.lessons)} lessons are ready** (chapters {', '.join(chapters) or 'none'}); "
        f"the other {len(course.lessons) - len(ready)} are planned."
    )


def with_table(readme: str, course: CourseMap) -> str:
    """README's text with table and progress between their markers; ValueError when one is not there exactly once."""
    for (begin, end), text in (((BEGIN, END), table(course)), (PROGRESS, progress(course))):
        if readme.count(begin) != 1 or readme.count(end) != 1 or readme.index(begin) > readme.index(end):
            raise ValueError(f"README.md needs these two lines, once each:\n{begin}\n{end}")
        before, rest = readme.split(begin)
        readme = f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}"
    return readme


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 when the map, the README and the repository agree."""
    parser = argparse.ArgumentParser(
        prog="python -m minillm.course.lessons.map", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--write", action="store_true", help="bring the README's table up to date")
    options = parser.parse_args(arguments)
    root = checkout()
    try:
        course = load_map(root / "notebooks" / "course.toml")
        found = problems(course, root)
        readme = (root / "README.md").read_text(encoding="utf-8")
        fresh = with_table(readme, course)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if fresh != readme and options.write:
        write_whole(root / "README.md", fresh)
        print("README.md: table written")
    elif fresh != readme:
        found.append("README.md: the table is not what the map says; run with --write")
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
