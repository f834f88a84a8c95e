import pytest

from minillm.apps.ops import Records


@pytest.fixture
def records(tmp_path):
    made = Records(tmp_path / "ops")
    yield made
    made.close()
