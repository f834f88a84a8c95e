"""nbval leaves out a lesson's optional cells (tagged needs-NAME) where NAME is absent, and says why."""

import pytest

from minillm.course.page.needs import missing, names_of


def pytest_collection_modifyitems(items):
    for item in items:
        cell = getattr(item, "cell", None)  # nbval's items have one
        names = names_of(cell.metadata.get("tags", [])) if cell is not None else []
        reasons = [reason for reason in map(missing, names) if reason]
        if names and not reasons and cell.get("execution_count") is None:
            reasons = ["was not run where the lesson was written"]
        if reasons:
            item.add_marker(pytest.mark.skip(reason="; ".join(reasons)))
