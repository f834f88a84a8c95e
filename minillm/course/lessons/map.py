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
from urllib.parse import quote

from minillm._files import BadFileError, read_bytes, write_whole
from minillm.course.lessons.ids import check_lesson_id, is_lesson_file, lesson_of_file
from minillm.course.lessons.notebooks import read_notebook, source, tags
from minillm.course.paths import checkout

BEGIN = "<!-- course map -->"
END = "<!-- /course map -->"
PROGRESS = ("<!-- course progress -->", "<!-- /course progress -->")


@dataclass(frozen=True)
class Part:
    """One subsection of the book, such as 2.3.4 멀티 헤드 어텐션: its lesson, and the heading that teaches it there."""

    number: str
    korean: str
    english: str
    lesson: str
    heading: str = ""  # empty until it is written


@dataclass(frozen=True)
class Section:
    """One section of the book, such as 2.3 어텐션 이해하기: its subsections, and the ids of its lessons.

    A section without subsections is taught under a heading of its own, in the first of its lessons.
    """

    number: str
    korean: str
    english: str
    lessons: tuple[str, ...]
    heading: str = ""
    parts: tuple[Part, ...] = ()

    @property
    def taught(self) -> tuple[Part, ...]:
        """What there is to teach: the subsections, or the section itself where it has none."""
        own = Part(
            self.number, self.korean, self.english, self.lessons[0] if self.lessons else "", self.heading
        )
        return self.parts or (own,)

    @property
    def ready(self) -> bool:
        """Whether everything in it is taught under a heading."""
        return all(part.heading for part in self.taught)


@dataclass(frozen=True)
class Chapter:
    """One chapter of the book."""

    number: int
    korean: str
    english: str
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Lesson:
    """One lesson: its title, minutes on two cores, and, when ready, its notebook, library files and tests.

    needs: what its optional closing cells ask for (tags needs-NAME). keeps: what it trains once for later lessons.
    """

    id: str
    title: str
    minutes: int
    ready: bool
    file: str = ""
    library: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    keeps: str = ""


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
                tuple(map(_section, one["sections"])),
            )
            for one in data["chapters"]
        )
        lessons = {name: _lesson(name, dict(fields)) for name, fields in data["lessons"].items()}
        return CourseMap(data["book"], chapters, lessons)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadFileError(f"course map {str(path)!r} is refused: {type(error).__name__}: {error}") from None


def _section(fields: dict[str, Any]) -> Section:
    parts = tuple(Part(**part) for part in fields.get("parts", ()))
    return Section(**fields | {"lessons": tuple(fields["lessons"]), "parts": parts})


def _lesson(name: str, fields: dict[str, Any]) -> Lesson:
    state = fields.pop("state")
    if state not in {"ready", "planned"}:
        raise ValueError(f"state of lesson {name} must be ready or planned, got {state!r}")
    for key in ("library", "tests", "needs"):
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
            found += _part_problems(section)
            for part in section.taught:
                found += _heading_problems(part, course.lessons.get(part.lesson), root)
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
            found += _needs(lesson, root / "notebooks" / lesson.file)
    mapped = {lesson.file for lesson in course.lessons.values() if lesson.ready}
    for notebook in sorted((root / "notebooks").glob("*.ipynb")):
        if notebook.name not in mapped:
            found.append(f"notebooks/{notebook.name} is not a ready lesson of the map")
    return found


def _part_problems(section: Section) -> list[str]:
    found = []
    expected = [f"{section.number}.{index}" for index in range(1, len(section.parts) + 1)]
    if [part.number for part in section.parts] != expected:
        found.append(f"subsections of {section.number} must be numbered 1, 2, 3, ... within it")
    if section.parts and section.heading:
        found.append(f"section {section.number} has subsections: the headings belong to them")
    for part in section.parts:
        if part.lesson not in section.lessons:
            found.append(
                f"subsection {part.number} is taught in {part.lesson}, no lesson of {section.number}"
            )
        if not part.english or not re.search(r"[\uac00-\ud7a3A-Z]", part.korean):
            found.append(f"subsection {part.number} needs a title in both languages")
    return found


def _heading_problems(part: Part, lesson: Lesson | None, root: Path) -> list[str]:
    """A break when the heading that should teach a part is not in its lesson's notebook, or a ready lesson has none."""
    if not part.heading:
        named = lesson is not None and lesson.ready
        return (
            [f"{part.number}: {part.lesson} is ready, the heading that teaches it is missing"]
            if named
            else []
        )
    if lesson is None or not lesson.ready:
        return [f"{part.number} has a heading, but its lesson {part.lesson} is not ready"]
    path = root / "notebooks" / lesson.file
    if path.is_file() and part.heading not in headings(path):
        return [f"{part.number} should be taught under {part.heading!r}, which {lesson.file} does not have"]
    return []


def headings(path: Path) -> list[str]:
    """The headings of a notebook's markdown cells, without their marks: "### The cache" -> "The cache"."""
    return [
        line.lstrip("#").strip()
        for cell in read_notebook(path)["cells"]
        if cell["cell_type"] == "markdown"
        for line in re.sub(r"(?ms)^```.*?^```", "", source(cell)).splitlines()
        if re.match(r"#{1,6} ", line)
    ]


def _needs(lesson: Lesson, path: Path) -> list[str]:
    """A break when the optional parts that the map lists are not the ones in the notebook."""
    there = {tag for cell in read_notebook(path)["cells"] for tag in tags(cell) if tag.startswith("needs-")}
    if there == {f"needs-{name}" for name in lesson.needs}:
        return []
    listed = ", ".join(lesson.needs) or "none"
    return [
        f"lesson {lesson.id} needs {listed} in the map, its cells say {', '.join(sorted(there)) or 'none'}"
    ]


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
                if section.korean != "정리"
                and any(part.heading and part.lesson == lesson.id for part in section.taught)
            ]
            library = " ".join(f"[{Path(path).name}]({path})" for path in lesson.library)
            link = f"[{lesson.id} {lesson.title}](notebooks/{lesson.file})"
            lines.append(f"| {link} | {'<br>'.join(sections)} | {library} | {lesson.minutes} |")
    done = sum(lesson.ready for lesson in course.lessons.values())
    sections = [section for chapter in course.chapters for section in chapter.sections]
    taught = [part for section in sections for part in section.taught]
    lines += [
        "",
        "<details>",
        f"<summary>The whole book, section by section: {done} of {len(course.lessons)} lessons are ready, and "
        f"{sum(bool(part.heading) for part in taught)} of {len(taught)} sections and subsections are taught</summary>",
        "",
        "| section | 책의 절 | in English | taught in |",
        "|---|---|---|---|",
    ]
    for chapter in course.chapters:
        lines.append(f"| **{chapter.number}** | **{chapter.korean}** | **{chapter.english}** | |")
        for section in chapter.sections:
            ready = "" if not section.parts else "ready" if section.ready else "planned"
            if section.parts and not section.ready and any(part.heading for part in section.parts):
                ready = "in part"
            place = ready or _place(section.taught[0], course)
            lines.append(f"| {section.number} | {section.korean} | {section.english} | {place} |")
            for part in section.parts:
                lines.append(f"| {part.number} | {part.korean} | {part.english} | {_place(part, course)} |")
    return "\n".join([*lines, "", "</details>"])


def _place(part: Part, course: CourseMap) -> str:
    """Where a part is taught: a link to the heading in its lesson, or the lesson that will teach it."""
    lesson = course.lessons.get(part.lesson)
    if lesson is None or not part.heading or not lesson.ready:
        return f"{part.lesson}, planned"
    anchor = quote(part.heading.replace(" ", "-"), safe="-,:()")  # as JupyterLab makes them
    anchor = anchor.replace("(", "%28").replace(")", "%29")
    return f"[{lesson.id}: {part.heading}](notebooks/{lesson.file}#{anchor})"


def progress(course: CourseMap) -> str:
    """README's first fact: how many lessons are ready, of which chapters, and how many are planned."""
    ready = [lesson.id for lesson in course.lessons.values() if lesson.ready]
    chapters = dict.fromkeys(str(int(lesson.split("_")[0])) for lesson in ready)
    if len(ready) == len(course.lessons):
        return (
            f"**All {len(ready)} lessons are ready**: every section of the book's {len(chapters)} chapters."
        )
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
