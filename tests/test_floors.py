"""The import contract can fail: a room on no floor, an import upwards, and a library we are held against."""

import shutil
import subprocess
import sys

import pytest

from tests.helpers import ROOT, pyproject

pytest.importorskip("importlinter", reason="import-linter holds the floors; it is in the test extra")
LAYERS = pyproject()["tool"]["importlinter"]["contracts"][0]["layers"]
ROOMS = [room.strip() for layer in LAYERS for room in layer.split(":") if "(" not in room]


@pytest.fixture
def house(tmp_path):
    """Every room of the contract, empty, under our own settings."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for room in ("minillm", "kernels", *(f"minillm/{room}" for room in ROOMS)):
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").touch()
    return tmp_path


def lint(house):
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, '.'); {command}"],
        cwd=house, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_the_floors_hold_every_room(house):
    assert lint(house)[0] == 0
    rooms = {path.stem for path in (ROOT / "minillm").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - {"__init__", "__main__", "__pycache__"} <= {
        room.strip("() ") for layer in LAYERS for room in layer.split(":")
    }


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("minillm/attic.py", "", "attic"),
        ("minillm/apps.py", "import minillm.cli", "minillm.apps is not allowed to import minillm.cli"),
        ("minillm/sandbox/x.py", "import minillm.nn", "minillm.sandbox is not allowed to import minillm.nn"),
        (
            "minillm/nn/x.py",
            "def f():\n    import minillm.models",
            "minillm.nn is not allowed to import minillm.models",
        ),
        ("kernels/x.py", "import minillm", "kernels is not allowed to import minillm"),
        ("minillm/search/x.py", "def f():\n    import faiss", "minillm is not allowed to import faiss"),
    ],
)
def test_what_is_off_the_plan_fails_the_lint(house, file, text, said):
    (house / file).write_text(text, encoding="utf-8")
    code, output = lint(house)
    assert code == 1
    assert said in output
