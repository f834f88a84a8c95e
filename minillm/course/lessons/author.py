"""Write a lesson as a text file, run it, and have it checked: `python -m minillm.course.lessons.author --help`.

    new 02_1 bpe     start build/lessons/02_1_bpe.py from the skeleton of a lesson
    edit 02_1        write notebooks/02_1_*.ipynb as build/lessons/02_1_*.py (jupytext's py:percent form)
    run 02_1         take the text file if it is newer, format, run top to bottom, write the notebook, check it
    check [02_1]     only hold the lesson, or all of them, to the rules
    stale [02_1]     name the cells that show source which has changed since; --mend writes today's

The notebook is the only copy that is committed; build/ is ignored. `run` writes the exercise cells' nbgrader
metadata, folds the cells tagged prove, fills the glossary's rows from the list of terms, writes stable cell ids and
the kernel name, pictures with 128 colours, and nothing that differs from run to run. Cells tagged needs-NAME are left
as they were where NAME is absent. The seconds a lesson takes go to tests/course/lesson_times.json. When a cell fails,
the notebook stays as it was. CONTRIBUTING.md is the guide.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from minillm._files import read_json, write_json, write_whole
from minillm.course.lessons import notebooks
from minillm.course.lessons.ids import check_lesson_id, is_lesson_file, lesson_of_file
from minillm.course.lessons.map import load_map
from minillm.course.lessons.pictures import with_smaller_pictures
from minillm.course.lessons.rules import TIMES, check_lesson, time_breaks
from minillm.course.lessons.skeleton import skeleton
from minillm.course.lessons.stale import mend, stale_cells
from minillm.course.lessons.terms import row, terms
from minillm.course.page.needs import missing, names_of
from minillm.course.paths import checkout

HEADER = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

"""


SKIP = "skip-execution"  # while a lesson runs: the tag nbclient passes over


class LessonFailed(Exception):
    """A cell of the lesson raised; the message has the cell and the traceback."""


def twin_path(notebook: Path) -> Path:
    """The text file a notebook is edited as."""
    return checkout() / "build" / "lessons" / f"{notebook.stem}.py"


def new(lesson: str, name: str) -> Path:
    """Start the text file of a lesson that is on the map and not written yet."""
    path = checkout() / "notebooks" / f"{check_lesson_id(lesson)}_{name}.ipynb"
    if not is_lesson_file(path.name):
        raise ValueError(f"a lesson's name is in small letters, such as bpe or kv_cache, got {name!r}")
    lessons = load_map(path.parent / "course.toml").lessons
    if lesson not in lessons:
        raise ValueError(f"lesson {lesson} is not in notebooks/course.toml: put it on the map first")
    there = [*path.parent.glob(f"{lesson}_*.ipynb"), *twin_path(path).parent.glob(f"{lesson}_*.py")]
    if there:  # under any name: a lesson has one file
        raise ValueError(f"{sorted(there)[0].name} is there already: use edit {lesson}")
    return write_whole(twin_path(path), HEADER + skeleton(lessons[lesson]))


def edit(lesson: str) -> Path:
    """Write the notebook's code, prose and tags as a text file; outputs and grading metadata stay behind."""
    import jupytext

    path = notebooks.lesson_path(lesson, checkout() / "notebooks")
    twin = twin_path(path)
    if twin.exists() and twin.stat().st_mtime > path.stat().st_mtime:
        raise ValueError(f"{twin.name} has changes the notebook lacks: `run {lesson}` first, or delete it")
    document = _joined(notebooks.read_notebook(path))
    for cell in document.cells:
        plain = [tag for tag in notebooks.tags(cell) if tag != notebooks.HIDE]
        cell["metadata"] = {"tags": plain} if plain else {}
    document.metadata.clear()
    return write_whole(twin, HEADER + jupytext.writes(document, fmt="py:percent").split("# ---\n\n")[-1])


def run(lesson: str, timeout: int = 120) -> tuple[Path, list[float], float]:
    """Format, execute and write the lesson; the notebook's path, the seconds of each code cell, and of the whole.

    Raises LessonFailed when a cell raises or takes longer than `timeout` seconds; the notebook is then unchanged.
    """
    import nbformat

    path, document = _sources(lesson)
    document = _joined(_formatted(document))
    for cell in document["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = with_glossary(cell["source"])
    normalize(document)
    before = notebooks.read_notebook(path)["cells"] if path.exists() else []
    left_out = _leave_out_optional(document, before)
    seconds, whole = _execute(document, path.parent, timeout)
    with_smaller_pictures(document)
    for index, (outputs, count) in left_out.items():
        document["cells"][index] |= {"outputs": outputs, "execution_count": count}
    normalize(document)
    write_whole(path, nbformat.writes(document, indent=1, ensure_ascii=False) + "\n")
    return path, seconds, whole


def with_glossary(markdown: str) -> str:
    """The same text with each glossary row that names only its term (`| token |`) written out from the list."""
    glossary = notebooks.glossary_of(markdown)
    known = terms()
    lines = [
        row(known[line.strip("| ")]) if line.startswith("|") and line.strip("| ") in known else line
        for line in glossary.split("\n")
    ]
    return markdown.replace(glossary, "\n".join(lines)) if glossary else markdown


def _leave_out_optional(document: Any, before: list[dict[str, Any]]) -> dict[int, tuple[list, int | None]]:
    """Mark the cells whose NAME is absent; index -> the outputs and count that the same cell has in the file."""
    import nbformat

    kept = {notebooks.source(cell): cell for cell in before}
    left_out: dict[int, tuple[list, int | None]] = {}
    for index, cell in enumerate(document["cells"]):
        absent = [reason for reason in map(missing, names_of(notebooks.tags(cell))) if reason]
        if cell["cell_type"] != "code" or not absent:
            continue
        cell["metadata"]["tags"] = [*notebooks.tags(cell), SKIP]
        old = kept.get(cell["source"], {})
        left_out[index] = (
            [nbformat.from_dict(one) for one in old.get("outputs", [])],
            old.get("execution_count"),
        )
        print(f"cell {index + 1} is left as it was: {'; '.join(absent)}")
    return left_out


def _sources(lesson: str) -> tuple[Path, Any]:
    """The lesson's path and its cells, from the text file where that is newer than the notebook."""
    import jupytext

    twins = sorted((checkout() / "build" / "lessons").glob(f"{lesson}_*.py"))
    written = {twin.stem: checkout() / "notebooks" / f"{twin.stem}.ipynb" for twin in twins}
    for path in written.values():
        twin = twin_path(path)
        if not path.exists() or twin.stat().st_mtime > path.stat().st_mtime:
            if len(written) > 1:
                raise ValueError(
                    f"more than one text file of lesson {lesson}: {', '.join(written)}; keep one"
                )
            return path, jupytext.reads(twin.read_text(encoding="utf-8"), fmt="py:percent")
    path = notebooks.lesson_path(lesson, checkout() / "notebooks")
    return path, _joined(notebooks.read_notebook(path))


def _joined(notebook: dict[str, Any]) -> Any:
    """The notebook as nbformat's object, in which every text is one string."""
    import nbformat

    return nbformat.reads(json.dumps(notebook), as_version=4)


def normalize(document: Any) -> None:
    """Ids that follow from the cells' text, grading metadata, the kernel's name, and no trace of one run or machine."""
    cells = document["cells"]
    document["metadata"] = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    document["nbformat"], document["nbformat_minor"] = 4, 5
    names: list[str] = [hashlib.sha256(notebooks.source(cell).encode()).hexdigest()[:8] for cell in cells]
    grading: dict[int, dict[str, Any]] = {}
    for one in notebooks.find_exercises(document):
        names[one.task], names[one.answer], names[one.test] = f"{one.id}-task", one.id, f"{one.id}-test"
        grading[one.answer], grading[one.test] = notebooks.grading_metadata(one)
    for index, cell in enumerate(cells):
        repeats = names[:index].count(names[index])
        cell["id"] = f"{names[index]}-{repeats}" if repeats else names[index]
        cell["metadata"] = notebooks.metadata_of([tag for tag in notebooks.tags(cell) if tag != SKIP])
        if index in grading:
            cell["metadata"]["nbgrader"] = grading[index]
        cell.pop("attachments", None)
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output["metadata"] = {}


def _formatted(document: Any) -> dict[str, Any]:
    """The same cells after `ruff format`, without outputs."""
    plain = json.loads(json.dumps(document))
    plain["metadata"] = {}
    for cell in plain["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    done = _ruff("format", "-", "--stdin-filename", "notebooks/lesson.ipynb", text=json.dumps(plain))
    if done.returncode:
        raise LessonFailed(f"ruff format: {done.stderr.strip()}")
    return json.loads(done.stdout)


def lint(path: Path) -> list[str]:
    """What ruff has to say about the lesson."""
    done = _ruff("check", "--output-format", "concise", "--quiet", str(path))
    return [f"ruff: {line}" for line in (done.stdout + done.stderr).splitlines()]


def _ruff(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ruff", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, cwd=checkout(), timeout=60)


def _execute(document: Any, folder: Path, timeout: int) -> tuple[list[float], float]:
    """Run every cell in a fresh kernel whose folder is notebooks/; outputs land in the document.

    Returns the seconds of each cell and of the whole. The whole is counted on the clock or as processor time of the
    kernel and its children, whichever is less: a busy machine does not make a lesson slow.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    started: dict[int, float] = {}
    seconds: list[float] = []
    used: list[float] = []
    began = time.perf_counter()

    def note(cell: Any, cell_index: int, execute_reply: Any) -> None:
        seconds.append(time.perf_counter() - started[cell_index])
        used.append(_processor_seconds(client))

    client = NotebookClient(
        document,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        extra_arguments=["--log-level=ERROR"],  # the kernel's own remarks are not the lesson's
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
        on_cell_execute=lambda cell, cell_index: started.update({cell_index: time.perf_counter()}),
        on_cell_executed=note,
        skip_cells_with_tag=SKIP,
    )
    try:
        client.execute(env=os.environ | {"PYTHONWARNINGS": "default"})
    except (CellExecutionError, CellTimeoutError) as error:
        number = max(started, default=0) + 1
        raise LessonFailed(
            f"cell {number} of the lesson failed; the notebook is unchanged\n{error}"
        ) from None
    return seconds, min([time.perf_counter() - began, *used[-1:]])


def _processor_seconds(client: Any) -> float:
    """Processor time of a running kernel and of its children that have ended; endless where psutil cannot tell."""
    import psutil  # ipykernel brings it

    try:
        times = psutil.Process(client.km.provisioner.pid).cpu_times()
    except (psutil.Error, AttributeError, TypeError):
        return float("inf")
    return (
        times.user + times.system + getattr(times, "children_user", 0) + getattr(times, "children_system", 0)
    )


def machine() -> str:
    """What the recorded seconds were measured on."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def record_seconds(lesson: str, seconds: float) -> str:
    """Write a lesson's seconds down beside the others of the same machine; a line for the author."""
    path = checkout() / TIMES
    recorded = read_json(path, "lesson times") if path.is_file() else {"machine": machine(), "seconds": {}}
    if recorded["machine"] != machine():
        return f"{seconds:.0f} s, not recorded: {TIMES} is of another machine ({recorded['machine']})"
    there = {lesson_of_file(file.name) for file in (checkout() / "notebooks").glob("*.ipynb")}
    kept = {key: value for key, value in recorded["seconds"].items() if key in there}
    kept[lesson] = round(seconds, 1)
    write_json(path, recorded | {"seconds": dict(sorted(kept.items()))})
    return f"{seconds:.0f} s, recorded in {TIMES}"


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 when the lesson runs and breaks no rule."""
    parser = argparse.ArgumentParser(
        prog="python -m minillm.course.lessons.author", description=__doc__.split("\n")[0]
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("new", help="start a lesson's text file from the skeleton")
    one.add_argument("lesson", help="its id in notebooks/course.toml, for example 02_1")
    one.add_argument("name", help="the rest of the file's name, for example bpe")
    one = verbs.add_parser("edit", help="write a notebook as a text file")
    one.add_argument("lesson")
    one = verbs.add_parser("run", help="run a lesson and write its notebook")
    one.add_argument("lesson")
    one.add_argument("--timeout", type=int, default=120, help="seconds a cell may take (default 120)")
    one = verbs.add_parser("check", help="hold lessons to the rules")
    one.add_argument("lesson", nargs="*", help="all when none is named")
    one = verbs.add_parser("stale", help="find cells that show source which has changed since")
    one.add_argument("lesson", nargs="*", help="all when none is named")
    one.add_argument("--mend", action="store_true", help="write the source of today into them")
    options = parser.parse_args(arguments)
    try:
        return _main(options)
    except (ValueError, LessonFailed, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
    except ImportError as error:
        print(f"{error}: install the tools of the course with pip install -e '.[test]'", file=sys.stderr)
    return 1


def _main(options: argparse.Namespace) -> int:
    folder = checkout() / "notebooks"
    if options.verb in {"new", "edit"}:
        twin = new(options.lesson, options.name) if options.verb == "new" else edit(options.lesson)
        print(
            f"edit {twin.relative_to(checkout())}, then: python -m minillm.course.lessons.author run {options.lesson}"
        )
        return 0
    if options.verb == "run":
        path, seconds, whole = run(options.lesson, options.timeout)
        slow = sorted(((took, number) for number, took in enumerate(seconds, 1)), reverse=True)[:3]
        slowest = ", ".join(f"[{number}] {took:.1f} s" for took, number in slow)
        recorded = record_seconds(options.lesson, whole)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB; slowest {slowest}; {recorded}")
        paths = [path]
    else:
        named = [notebooks.lesson_path(lesson, folder) for lesson in options.lesson]
        paths = named or sorted(folder.glob("*.ipynb"))
    if options.verb == "stale":
        return _stale(paths, options.mend)
    breaks = [f"{path.name}: {found}" for path in paths for found in [*check_lesson(path), *lint(path)]]
    named = tuple(f"{path.name}:" for path in paths)
    slow = time_breaks(checkout())
    breaks += [found for found in slow if found.startswith(named) or len(paths) > 1]
    for found in breaks:
        print(found)
    print(f"{_many(len(paths), 'lesson')}, {_many(len(breaks), 'rule break')}")
    return 1 if breaks else 0


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _stale(paths: list[Path], mending: bool) -> int:
    """Name what is stale; 1 when something is and stays."""
    many = 0
    for path in paths:
        found, unknown = stale_cells(notebooks.read_notebook(path))
        many += len(found)
        for index in sorted(found):
            print(f"{path.name}: cell {index + 1} shows source that has changed")
        for index in unknown:
            print(f"{path.name}: cell {index + 1} shows what the lesson makes: run it to know")
        if mending:
            mend(path)
    ending = ", mended" if many and mending else ""
    print(f"{_many(len(paths), 'lesson')}, {_many(many, 'stale cell')}{ending}")
    return 1 if many and not mending else 0


if __name__ == "__main__":
    raise SystemExit(main())
