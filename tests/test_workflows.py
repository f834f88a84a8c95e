"""The workflows of .github/: right by GitHub's schema, read-only, bounded, pinned, and the same commands as here."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from minillm.course.lessons.map import load_map
from tests.helpers import ROOT, pyproject

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in FILES}
FLOWS = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
JOBS = [(name, job, body) for name, flow in FLOWS.items() for job, body in flow["jobs"].items()]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = re.search(r"^```yaml\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)[1]


def steps(flow, job):
    return FLOWS[flow]["jobs"][job]["steps"]


def schema_check(*paths):
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        *map(str, paths),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_they_follow_githubs_schema_and_so_does_the_readmes_example(tmp_path):
    example = tmp_path / "class.yml"
    example.write_text(EXAMPLE, encoding="utf-8")
    done = schema_check(*FILES, example)
    assert done.returncode == 0, done.stdout
    example.write_text(EXAMPLE.replace("uses:", "using:"), encoding="utf-8")
    assert schema_check(example).returncode == 1  # the schema does look


def test_actionlint_finds_nothing():
    if shutil.which("actionlint") is None:
        pytest.skip(
            "actionlint is not on the PATH: its Python package downloads a binary that not every network allows"
        )
    done = subprocess.run(["actionlint", *map(str, FILES)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def test_they_read_and_never_write():
    for name, flow in FLOWS.items():
        assert flow["permissions"] == {"contents": "read"}, name
    for name, job, body in JOBS:
        assert "permissions" not in body, (name, job)
    assert "secrets" not in "".join(TEXTS.values())
    assert "pull_request_target" not in "".join(TEXTS.values())


def test_every_job_has_a_deadline_and_a_newer_push_stops_an_older_run():
    for name, job, body in JOBS:
        if "uses" not in body:  # a called workflow has its own
            assert 1 <= body["timeout-minutes"] <= 90, (name, job)
    assert FLOWS["ci"]["concurrency"]["cancel-in-progress"] is True


def test_every_action_is_pinned_to_a_commit_and_says_its_version():
    used = re.findall(r"uses: (\S+)(.*)", "\n".join(TEXTS.values()))
    assert len(used) >= 8
    for action, comment in used:
        if not action.startswith("./"):
            assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action
    commits = {}
    for action, _ in used:
        commits.setdefault(action.split("@")[0], set()).add(action)
    assert all(len(found) == 1 for found in commits.values())


def test_three_systems_with_the_oldest_and_the_newest_python():
    matrix = FLOWS["ci"]["jobs"]["commands"]["strategy"]["matrix"]
    assert {re.split("-", name)[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert all(re.search(r"-\d", name) for name in matrix["os"]), "a named image does not change under us"
    oldest, newest = matrix["python"]
    assert pyproject()["project"]["requires-python"] == f">={oldest}"
    assert f"Python {oldest} to {newest}" in README
    assert all(isinstance(version, str) for version in matrix["python"])  # 3.10 is not 3.1


def test_no_step_needs_make_or_a_posix_shell_on_every_system():
    for step in steps("ci", "commands"):
        assert "shell" not in step
        assert not re.search(r"\bmake\b|\.venv|\$\(|&&|\\$", step.get("run", ""))


def test_pip_caches_by_the_one_list_of_dependencies():
    for name, job, body in JOBS:
        for step in body.get("steps", []):
            if "setup-python" in step.get("uses", ""):
                assert step["with"]["cache"] == "pip", (name, job)
                assert (ROOT / step["with"]["cache-dependency-path"]).name == "pyproject.toml"


def test_the_installed_extras_exist():
    extras = set(pyproject()["project"]["optional-dependencies"])
    named = re.findall(r'-e "\.\[([a-z,]+)\]"', "\n".join(TEXTS.values()))
    assert named
    assert set(",".join(named).split(",")) <= extras


def test_lessons_are_compared_as_make_test_compares_them():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    flags = set(re.findall(r"--nbval\S*", makefile[makefile.index("NBVAL") :].split("\n\n")[0]))
    run = steps("lessons", "chapter")[-1]["run"]
    assert set(re.findall(r"--nbval\S*", run)) == flags
    assert len(flags) == 5


def chapters(tmp_path, asked=""):
    """The chapters that the workflow's own program finds, in this repository."""
    program = next(step["run"] for step in steps("lessons", "chapters") if step.get("id") == "list")
    output = tmp_path / "output"
    output.write_text("")
    if sys.version_info < (3, 11):
        program = program.replace("tomllib", "tomli")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={"CHAPTERS": asked, "GITHUB_OUTPUT": str(output)},
    )  # fmt: skip
    return done, output.read_text()


def test_one_job_a_chapter_that_has_a_lesson(tmp_path):
    done, output = chapters(tmp_path)
    assert done.returncode == 0, done.stderr
    name, _, found = output.strip().partition("=")
    ready = [lesson for lesson in load_map(ROOT / "notebooks/course.toml").lessons.values() if lesson.ready]
    assert name == "chapters"
    assert json.loads(found) == sorted({lesson.id[:2] for lesson in ready})
    for chapter in json.loads(found):
        assert list((ROOT / "notebooks").glob(f"{chapter}_*.ipynb"))


def test_a_class_names_its_chapters_and_a_wrong_one_is_refused(tmp_path):
    done, output = chapters(tmp_path, '["02"]')
    assert (done.returncode, output) == (0, 'chapters=["02"]\n')
    for wrong in ('["99"]', '["2"]', "[]"):
        done, output = chapters(tmp_path, wrong)
        assert done.returncode == 1
        assert "chapters must be some of ['01', '02'" in done.stderr
        assert output == ""


def test_the_readmes_example_uses_inputs_that_are_there():
    inputs = FLOWS["lessons"][True]["workflow_call"]["inputs"]  # YAML 1.1 reads the key `on` as True
    (job,) = yaml.safe_load(EXAMPLE)["jobs"].values()
    assert job["uses"] == "./.github/workflows/lessons.yml"
    assert set(job["with"]) <= set(inputs)
    assert isinstance(json.loads(job["with"]["chapters"]), list)


def test_what_was_not_tried_is_said():
    assert "have not" in TEXTS["ci"].split("\nname:")[0]
    assert "Not tried on GitHub yet" in TEXTS["lessons"].split("\nname:")[0]
    assert "have not run on GitHub yet" in README
