"""One dependency list, with a reason on each line; environment.yml and the Makefile point to it."""

import re
import shutil
import subprocess

import pytest

from minillm.data import REAL_MODELS
from tests.helpers import ROOT, pyproject

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = pyproject()["project"]


def test_every_dependency_has_its_reason_in_one_line():
    block = PYPROJECT[PYPROJECT.index("dependencies = [") : PYPROJECT.index("[project.scripts]")]
    lines = [line.strip() for line in block.splitlines() if line.strip().startswith('"')]
    assert len(lines) == len(PROJECT["dependencies"]) + sum(
        map(len, PROJECT["optional-dependencies"].values())
    )
    assert [line for line in lines if not re.search(r'",\s+# \S+ \S+', line)] == []


def test_core_is_small_and_the_heavy_parts_are_extras():
    core = {re.match(r"[\w-]+", line)[0] for line in PROJECT["dependencies"]}
    figures = {
        "matplotlib",
        "koreanize-matplotlib",
        "fonttools",
        "pillow",
    }  # the last two come with the first anyway
    torch_brings = {"filelock", "jinja2"}
    assert core == {"torch", "numpy", "safetensors", "regex", "numba", "tqdm"} | torch_brings | figures
    extras = {"kernels", "lab", "test", "parity", "hub", "tables", "xllamacpp", "classroom"}
    extras |= {"serve", "openai", "guardrails", "fuzz", "qdrant", "ann", "pdf", "otlp", "mlflow"}
    assert extras == set(PROJECT["optional-dependencies"])


def test_environment_yml_names_extras_and_lists_no_package_of_its_own():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    entries = re.findall(r"^\s+- (.+?):?$", text, flags=re.MULTILINE)
    assert entries == ["conda-forge", "python=3.11", "pip", "pip", "-e .[test,lab]"]
    named = re.search(r"-e \.\[(.+)\]", text)[1].split(",")
    assert set(named) <= set(PROJECT["optional-dependencies"])


def test_the_makefile_installs_extras_that_exist():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for extras in re.findall(r"^EXTRAS_\w+\s*:= (.+)$", text, flags=re.MULTILINE):
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_versions_agree():
    import minillm

    assert minillm.__version__ == PROJECT["version"]


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs sh, as make does")
def test_make_test_goes_on_without_the_real_models():
    """The recipe's line as it stands, with a `minillm` that cannot fetch."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (line,) = re.findall(r"^\t@(.* fetch .*)$", makefile, flags=re.MULTILINE)
    assert set(re.search(r"^MODELS := (.+)$", makefile, flags=re.MULTILINE)[1].split()) == set(REAL_MODELS)
    command = line.replace("$(BIN)/minillm fetch $(MODELS) ||", "false ||").replace("$(BIN)", ".venv/bin")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert "minillm fetch" in done.stdout
