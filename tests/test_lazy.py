"""Names that a package imports when they are first asked for."""

import subprocess
import sys

import pytest

from minillm import course, search
from minillm._lazy import lazy
from minillm.apps import agents


@pytest.mark.parametrize("package", [search, course, agents], ids=["search", "course", "agents"])
def test_every_name_is_what_its_module_holds_also_when_that_was_imported_before(package):
    assert len(package.__all__) > 15
    for name in package.__all__:
        found = getattr(package, name)
        assert type(found).__name__ != "module", name
        assert (found.name if isinstance(found, agents.Tool) else found.__name__) == name
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = package.nothing


def test_a_name_that_its_module_would_hide_is_refused():
    with pytest.raises(ValueError, match=r"\['bm25'\] would hide"):
        lazy("minillm.search", {"bm25": ("bm25",)})
    with pytest.raises(ValueError, match=r"the names \['BM25'\] are given twice"):
        lazy("minillm.search", {"bm25": ("BM25",), "fusion": ("rrf", "BM25")})


def test_a_store_and_the_command_line_wait_for_no_torch():
    code = (
        "import sys, minillm.cli, minillm.search.store; print('torch' in sys.modules, 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False", "False"], done.stderr
