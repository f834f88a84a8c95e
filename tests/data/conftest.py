"""A hub on this machine for the tests of names on the hub."""

import huggingface_hub.constants
import pytest

from tests.hub_server import running_hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A running hub that huggingface_hub takes for its own, with an empty cache."""
    constants = huggingface_hub.constants
    with running_hub() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(
            constants, "HF_HUB_DISABLE_XET", True
        )  # its servers are other ones: plain LFS instead
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.chdir(tmp_path)
        yield running
