"""The first pages: what README and BENCHMARKS promise is there, and runs under the names that they give."""

import importlib.util
import io
import re

import nbformat
import pytest
from PIL import Image

from minillm.cli import build_parser
from minillm.course.lessons.notebooks import lesson_path
from minillm.data import python_questions
from minillm.search.self_grading import METHODS
from tests.helpers import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ("README.md", "BENCHMARKS.md", "CONTRIBUTING.md")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", README, flags=re.MULTILINE | re.DOTALL))


def anchors(text):
    """GitHub's names of the headings: "CI for a class" -> "ci-for-a-class"."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    missing = []
    for link in links:
        path, _, anchor = link.partition("#")
        if path.startswith(("http:", "https:")):
            continue
        if path and not (ROOT / path).exists():
            missing.append(link)
        elif anchor and path.endswith((".md", "")) and not path.endswith(".ipynb"):
            target = (ROOT / path).read_text(encoding="utf-8") if path else text
            missing += [link] if anchor not in anchors(target) else []
    assert missing == []
    assert links or page == "CONTRIBUTING.md"


def test_what_is_ready_stands_before_everything_else():
    top = README[: README.index("\n## ")]
    assert top.index("<!-- course progress -->") < 700
    for word in ("In the library", "BENCHMARKS.md", "lesson.png"):
        assert word in top


def test_speed_is_claimed_only_where_the_record_writes_it():
    outside = re.sub(r"<!-- bench:score -->.*?<!-- /bench:score -->", "", README, flags=re.DOTALL)
    outside = re.sub(
        r"<!-- course map -->.*?<!-- /course map -->", "", outside, flags=re.DOTALL
    )  # lessons' titles
    outside = re.sub(r"^```.*?^```", "", outside, flags=re.MULTILINE | re.DOTALL)
    claims = re.findall(
        r"as fast as|faster than|\d\s?x faster|fastest|state.of.the.art", outside, flags=re.IGNORECASE
    )
    assert claims == []


def test_the_sample_is_what_a_tour_prints():
    sample = re.search(r"^```text\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)[1]
    tour = ROOT / "minillm/course/tour"
    source = "".join((tour / name).read_text(encoding="utf-8") for name in ("stages.py", "real_model.py"))
    names = re.findall(r'^@stage\("(.+?)"', source, flags=re.MULTILINE)
    lines = re.findall(r"^ *\d+\.\d s  (.{15}) (\S.*?): \S", sample, flags=re.MULTILINE)
    assert [name.strip() for name, _ in lines] == names
    assert re.match(r"Python's language reference: \d+ documents; \d thread\(s\); results go to", sample)
    # the search of today: as many questions as there are, and the method that an index picks for itself
    assert f"{len(python_questions())} questions" in sample
    methods = re.findall(r"hit@5 \S+ (\w+): .* questions; (.+)$", sample, flags=re.MULTILINE)
    assert [{chosen, *re.findall("[a-z]\\w+", others)} for chosen, others in methods] == [set(METHODS)]


def verbs():
    parser = build_parser()
    (commands,) = [action for action in parser._actions if hasattr(action, "choices") and action.choices]
    return commands.choices


def test_every_command_and_option_that_it_names_exists():
    known = verbs()
    named = re.findall(r"minillm ((?!COMMAND)[a-z]+)([^`\n|]*)", README.replace(".venv/bin/", ""))
    assert len(named) > 10
    for verb, rest in named:
        if verb not in known:
            assert not rest.strip().startswith("-"), f"minillm {verb}"
            continue
        options = known[verb].format_help()
        if verb == "assignment":
            options += "".join(one.format_help() for one in subcommands(known[verb]))
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in options, f"minillm {verb} {option}"
    for verb in known:
        assert f"minillm {verb}" in README or f"make {verb}" in README
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)`", README)) <= targets


def subcommands(parser):
    return [one for action in parser._actions if action.choices for one in action.choices.values()]


def test_the_commands_that_ci_runs_work_as_they_are_written():
    """.ci/readme_commands.py runs every line of every bash block, with no shell set up and nothing to fill in."""
    blocks = re.findall(r"^```bash\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.strip().splitlines()]
    assert lines[0] == "make tour"
    assert len(lines) >= 8
    for line in lines:
        assert re.match(r"make |python3 -m venv |cp my_class/|\.venv/bin/(python|minillm) ", line), line
        assert not re.search(r"\.\.\.|<|HOST|PATH", line), line


def test_troubleshooting_has_the_usual_causes():
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", SECTIONS["Troubleshooting"], flags=re.MULTILINE)[1:]
    assert len(rows) >= 10
    text = " ".join(" ".join(row) for row in rows)
    for word in (
        "externally-managed", "python3-venv", "nvidia", "Windows", "Apple silicon", "Korean", "MPLBACKEND", "numba",
        "port", "No space left",
    ):  # fmt: skip
        assert word in text, word
    assert all(len(row[1]) > 40 for row in rows)


def picture_script():
    spec = importlib.util.spec_from_file_location("lesson_picture", ROOT / ".github/images/lesson.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_small_and_its_cells_are_in_the_lesson():
    script = picture_script()
    data = script.PICTURE.read_bytes()
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    assert image.width == script.WIDTH
    assert len(data) < 150_000
    path = lesson_path(script.LESSON, ROOT / "notebooks")
    assert f"notebooks/{path.name}" in README[: README.index("\n## ")]
    cells = script.chosen_cells(nbformat.read(path, as_version=4))
    assert any(output.output_type == "display_data" for cell in cells for output in cell.get("outputs", []))
    with pytest.raises(ValueError, match="no cell with '### One head'"):
        script.chosen_cells(nbformat.v4.new_notebook())


def test_the_pictures_page_carries_its_figures_and_font_and_runs_nothing():
    html = picture_script().page()
    assert "data:image/png;base64," in html
    assert "@font-face" in html
    assert not re.search(r"<script|<link|src=\"http", html)
