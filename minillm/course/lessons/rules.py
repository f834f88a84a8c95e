"""The rules every lesson keeps, each a function from a notebook to the breaks it found.

nbval compares outputs, but a notebook with cleared outputs passes it, and so does one that was run out of order or
on one machine's folders. These static rules close the gap. The authoring command and tests/course hold lessons to
them; CONTRIBUTING.md explains each. `check_lesson(path)` runs them all.
"""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from minillm.course.classroom.checking import exercises_of
from minillm.course.lessons import form, notebooks
from minillm.course.lessons.ids import ids_in, is_lesson_file, lesson_of_file
from minillm.course.lessons.notebooks import (
    code_cells,
    find_exercises,
    metadata_of,
    numbered,
    output_texts,
    source,
    tags,
    tree,
)
from minillm.course.page.needs import TAG, names_of
from minillm.course.paths import LIBRARY

Notebook = dict[str, Any]
Rule = Callable[[Notebook, Path], Iterator[str]]
RULES: dict[str, Rule] = {}

ALLOWED_TAGS = {
    notebooks.IGNORE,
    notebooks.EXERCISE_SETUP,
    notebooks.PROVE,
    notebooks.PREDICT,
    notebooks.HIDE,
}
MOST_BYTES = 400_000
MOST_LINES = 20  # a cell should fit on half a screen; exercises are exempt
MOST_SECONDS = 60
MEAN_SECONDS = 30
TIMES = "tests/course/lesson_times.json"  # written by `author run`
HANGUL = re.compile(r"[\uac00-\ud7a3]")
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+|\b0x[0-9a-fA-F]{9,}\b")  # 0x10FFFF is a number
FOLDERS = "home|root|Users|tmp|usr|opt|var|mnt|private|work|workspace|content|etc|srv|media"
ABSOLUTE = re.compile(rf"(?<![\w./:~*>-])/(?:{FOLDERS})/\w|\b[A-Za-z]:\\\\?\w")
MANY_DECIMALS = re.compile(r"(?<![\w.])-?\d+\.\d{4,}")
PEERS = {  # the same as pyproject.toml's forbidden_modules, as a test makes sure
    "transformers", "tokenizers", "tiktoken", "peft", "trl", "bitsandbytes", "diffusers", "llama_cpp",
    "sentence_transformers", "rank_bm25", "bm25s", "hnswlib", "faiss", "gensim",
    "sacrebleu", "choix", "rouge_score", "sklearn", "scipy", "gguf", "xllamacpp", "datasets",
}  # fmt: skip
SPEAKS = re.compile(r"print|check|display|plot_\w+")  # a call of these leaves an output
CARDS = {"show", "predict", "reveal"}  # so does one of these at the end of a cell


def rule(function: Rule) -> Rule:
    """Add a rule under its own name."""
    RULES[function.__name__] = function
    return function


for _one in form.RULES:
    rule(_one)


def check_lesson(path: str | Path) -> list[str]:
    """Every break of every rule in a notebook file, as "rule: what is wrong"; an empty list is a good lesson."""
    path = Path(path)
    return check_notebook(notebooks.read_notebook(path), path)


def check_notebook(notebook: Notebook, path: Path) -> list[str]:
    """As check_lesson, on a notebook already read; `path` gives the name and the size."""
    return [f"{name}: {found}" for name, one in RULES.items() for found in one(notebook, path)]


# --- the file ---


@rule
def file_name(notebook: Notebook, path: Path) -> Iterator[str]:
    """The lesson's id, then a name: 02_1_bpe.ipynb."""
    if not is_lesson_file(path.name):
        yield f"name it as 02_1_bpe.ipynb, its id and a name in small letters, got {path.name}"


@rule
def file_size(notebook: Notebook, path: Path) -> Iterator[str]:
    """A repository of notebooks stays small enough to clone."""
    if path.exists() and path.stat().st_size >= MOST_BYTES:
        yield f"{path.stat().st_size:,} bytes, at most {MOST_BYTES:,}: fewer or smaller figures"


@rule
def kernel(notebook: Notebook, path: Path) -> Iterator[str]:
    """Every machine has a kernel called python3; only its owner has another."""
    name = notebook.get("metadata", {}).get("kernelspec", {}).get("name")
    if name != "python3":
        yield f"the kernel must be python3, got {name!r}"
    if extra := set(notebook.get("metadata", {})) - {"kernelspec", "language_info"}:
        yield f"metadata beyond kernelspec and language_info: {', '.join(sorted(extra))}"


@rule
def cell_ids(notebook: Notebook, path: Path) -> Iterator[str]:
    """nbformat 4.5 and nbgrader find cells by their id."""
    seen: set[str] = set()
    for number, cell in enumerate(notebook["cells"], 1):
        name = cell.get("id", "")
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) or name in seen:
            yield f"cell {number} needs an id of its own, got {name!r}"
        seen.add(name)


@rule
def cell_metadata(notebook: Notebook, path: Path) -> Iterator[str]:
    """Timing, widgets and editor state change with every run."""
    for number, cell in enumerate(notebook["cells"], 1):
        metadata = {key: value for key, value in cell.get("metadata", {}).items() if key != "nbgrader"}
        if unknown := {tag for tag in tags(cell) if tag not in ALLOWED_TAGS and not tag.startswith(TAG)}:
            allowed = ", ".join(sorted(ALLOWED_TAGS))
            yield f"cell {number} has tag {', '.join(sorted(unknown))}; allowed: {allowed}, {TAG}NAME"
        elif {"tags": [], **metadata} != {"tags": [], **metadata_of(tags(cell))}:
            given = ", ".join(sorted(set(metadata) - {"tags"})) or "only tags"
            yield f"cell {number} has {given} as metadata (timing, widgets?), not what the author command writes"


# --- the run that made the outputs ---


@rule
def one_run(notebook: Notebook, path: Path) -> Iterator[str]:
    """Execution counts 1, 2, 3, ...: what a reader gets by running from top to bottom."""
    count = 0
    for number, cell in numbered(notebook):
        if names_of(tags(cell)) and cell.get("execution_count") is None:
            continue  # an optional part that could not run where the lesson was written
        count += 1
        try:
            ast.parse(source(cell))
        except SyntaxError as error:
            yield f"cell {number} is not plain Python: {error.msg}"
        if cell.get("execution_count") != count:
            yield f"cell {number} has execution count {cell.get('execution_count')}, {count} in one run from the top"
            return


@rule
def outputs_present(notebook: Notebook, path: Path) -> Iterator[str]:
    """nbval passes a notebook whose outputs were cleared."""
    for number, cell in numbered(notebook):
        optional = names_of(tags(cell)) and cell.get("execution_count") is None
        if not optional and not cell.get("outputs") and _must_speak(tree(cell)):
            yield f"cell {number} prints, shows, plots or ends in a value, but has no output: run the lesson again"


def _must_speak(tree: ast.Module) -> bool:
    for statement in tree.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            function = statement.value.func
            name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            if SPEAKS.fullmatch(name) or (name in CARDS and statement is tree.body[-1]):
                return True
    last = tree.body[-1] if tree.body else None
    silent = (ast.Call, ast.Constant, ast.Await)  # a call may well give None, a string may be a remark
    return isinstance(last, ast.Expr) and not isinstance(last.value, silent)


@rule
def clean_outputs(notebook: Notebook, path: Path) -> Iterator[str]:
    """No warning, no traceback, no widget."""
    for number, cell in numbered(notebook):
        for kind, text in output_texts(cell):
            if kind in {"stderr", "error"}:
                yield f"cell {number} has {kind}: {text.strip()[:100]!r}"
            if kind.startswith("application/vnd.jupyter.widget"):
                yield f"cell {number} shows a widget, which no one else will see"


@rule
def one_machine(notebook: Notebook, path: Path) -> Iterator[str]:
    """No absolute path and no address of an object."""
    for number, cell in enumerate(notebook["cells"], 1):
        for text in (source(cell), *(text for _, text in output_texts(cell))):
            if found := ADDRESS.search(text) or ABSOLUTE.search(text):
                start = max(0, found.start() - 20)
                yield f"cell {number} names one machine's path or address: {text[start : found.end() + 20]!r}"
                break


@rule
def few_decimals(notebook: Notebook, path: Path) -> Iterator[str]:
    """The fourth decimal of a forward pass may differ on another processor."""
    for number, cell in numbered(notebook):
        if notebooks.IGNORE in tags(cell):
            continue
        kinds = dict(output_texts(cell))
        if form.calls(tree(cell), "show"):  # source of the library, with its own constants
            continue
        if found := MANY_DECIMALS.search("\n".join(kinds.values())):
            yield f"cell {number} prints {found[0]}: at most 3 decimals survive another machine"


@rule
def claims(notebook: Notebook, path: Path) -> Iterator[str]:
    """What cannot be compared is followed by a proof that can; the answer to a question may stand in between."""
    cells = [(number, cell) for number, cell in numbered(notebook) if not form.calls(tree(cell), "reveal")]
    for (number, cell), (_, after) in zip(cells, [*cells[1:], (0, None)]):
        if notebooks.IGNORE not in tags(cell):
            continue
        compared = after is not None and notebooks.IGNORE not in tags(after)
        if not compared or not any(map(form.is_assert, ast.walk(tree(after)))):
            yield f"cell {number} is not compared: the next code cell must be, and must assert what it claims"


def time_breaks(root: Path) -> list[str]:
    """ "lesson: what is wrong" of the seconds `author run` recorded: 60 a lesson at most, 30 on average."""
    file = root / TIMES
    recorded = json.loads(file.read_text(encoding="utf-8"))["seconds"] if file.is_file() else {}
    found = []
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        lesson = lesson_of_file(path.name)
        if lesson not in recorded:
            found.append(f"{path.name}: time: no seconds in {TIMES}: `author run {lesson}` writes them")
        elif recorded[lesson] > MOST_SECONDS:
            found.append(f"{path.name}: time: runs {recorded[lesson]:.0f} s, at most {MOST_SECONDS}")
    mean = sum(recorded.values()) / max(len(recorded), 1)
    if mean > MEAN_SECONDS:
        found.append(f"{TIMES}: time: lessons run {mean:.0f} s on average, at most {MEAN_SECONDS}")
    return found


# --- the lesson ---


@rule
def opening(notebook: Notebook, path: Path) -> Iterator[str]:
    """A title in both languages with its minutes, then the one-line set-up."""
    cells = notebook["cells"]
    title = source(cells[0]) if cells and cells[0]["cell_type"] == "markdown" else ""
    if not title.startswith("# ") or not HANGUL.search(title) or not re.search(r"\d+ minutes", title):
        yield "the first cell must be '# English title', with the Korean chapter title and 'NN minutes' in it"
    code = code_cells(notebook)
    lines = source(code[0]).split("\n") if code else []
    if "setup()" not in lines or not any(line.startswith("from minillm.course import") for line in lines):
        yield "the first code cell must import from minillm.course and call setup() on a line of its own"


@rule
def closing(notebook: Notebook, path: Path) -> Iterator[str]:
    """What to remember, and the new terms in English and Korean."""
    texts = [source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    glossary = next((text for text in texts if re.search(r"^## Glossary", text, re.MULTILINE)), None)
    if glossary is None or len(HANGUL.findall(glossary)) < 6:
        yield "end with '## Glossary': the new terms in English and Korean"
    if not any(re.search(r"^## What to remember", text, re.MULTILINE) for text in texts):
        yield "end with '## What to remember'"


@rule
def next_lesson(notebook: Notebook, path: Path) -> Iterator[str]:
    """What comes next is one click away, or said to be planned."""
    texts = [source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    for line in re.findall(r"^Next: .*(?:\n.+)*", "\n\n".join(texts), re.MULTILINE):
        for lesson, following in ids_in(line):
            file = next((one.name for one in sorted(path.parent.glob(f"{lesson}_*.ipynb"))), None)
            if file and f"]({file})" not in line:
                yield f"lesson {lesson} is there: link it as [lesson {lesson}]({file})"
            elif not file and not following.startswith(" (planned)"):
                yield f"lesson {lesson} is not there: write {lesson} (planned)"


@rule
def short_cells(notebook: Notebook, path: Path) -> Iterator[str]:
    """A cell is read at a glance; none is empty."""
    for number, cell in enumerate(notebook["cells"], 1):
        if not source(cell).strip():
            yield f"cell {number} is empty"
    for number, cell in numbered(notebook):
        lines = len(source(cell).split("\n"))
        if lines > MOST_LINES and "nbgrader" not in cell.get("metadata", {}):
            yield f"cell {number} has {lines} lines, at most {MOST_LINES}"


@rule
def exercises(notebook: Notebook, path: Path) -> Iterator[str]:
    """Two to five, in the three-cell form, with the checkers' ids and points."""
    lesson = lesson_of_file(path.name)
    try:
        found = find_exercises(notebook)
        known = exercises_of(lesson)
    except ValueError as error:
        yield str(error)
        return
    if not 2 <= len(found) <= 5:
        yield f"a lesson has 2 to 5 exercises, this one {len(found)}"
    if [one.id for one in found] != list(known):
        yield f"exercises {[one.id for one in found]} in the lesson, {list(known)} in lesson_{lesson}.py"
    for one in found:
        if one.id in known and known[one.id].points != one.points:
            yield f"exercise {one.id} is worth {one.points} in the lesson, {known[one.id].points} in its checker"
        for index, wanted in zip((one.answer, one.test), notebooks.grading_metadata(one)):
            if notebook["cells"][index]["metadata"].get("nbgrader") != wanted:
                yield f"exercise {one.id}: nbgrader metadata of cell {index + 1} is not what the author command writes"
    graded = {index for one in found for index in (one.answer, one.test)}
    for index, cell in enumerate(notebook["cells"]):
        if "nbgrader" in cell.get("metadata", {}) and index not in graded:
            yield f"cell {index + 1} has nbgrader metadata but belongs to no exercise"


@rule
def imports(notebook: Notebook, path: Path) -> Iterator[str]:
    """Comparisons with the real libraries are tests, because a reader installs none of them."""
    for number, cell in numbered(notebook):
        for node in ast.walk(tree(cell)):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if peers := PEERS & {name.split(".")[0] for name in named}:
                yield f"cell {number} imports {', '.join(sorted(peers))}, which a reader need not have"


@rule
def one_copy(notebook: Notebook, path: Path) -> Iterator[str]:
    """The library is shown, never pasted."""
    library = library_functions()
    for number, cell in numbered(notebook):
        if "nbgrader" in cell.get("metadata", {}):
            continue
        for name, body in _bodies(tree(cell)):
            if body in library:
                yield f"cell {number}: {name} is a copy of {library[body]}; use show() and the library's own"


def _bodies(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(name, the code without names' positions and docstring) of functions of at least three statements."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            if len(body) >= 3:
                yield node.name, "\n".join(ast.dump(statement) for statement in body)


def library_functions() -> dict[str, str]:
    """The body of every function of minillm and kernels -> "file: name"."""
    root = LIBRARY.parent
    files = sorted([*root.glob("minillm/**/*.py"), *root.glob("kernels/**/*.py")])
    return _functions_in(tuple((file, file.stat().st_mtime_ns) for file in files), root)


@functools.lru_cache(maxsize=1)  # parsing the library takes longer than all the other rules together
def _functions_in(files: tuple[tuple[Path, int], ...], root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for file, _ in files:
        for name, body in _bodies(ast.parse(file.read_text(encoding="utf-8"))):
            found.setdefault(body, f"{file.relative_to(root).as_posix()}: {name}")
    return found
