"""The detectors' regression, held against scikit-learn's."""

import numpy as np
import pytest

from minillm.apps.agents.policies.detectors import ridge


@pytest.mark.parametrize(("rows", "columns", "l2"), [(30, 7, 0.2), (9, 40, 0.2), (20, 20, 3.0)])
def test_weights_and_intercepts_are_those_of_scikit_learn(rows, columns, l2):
    linear = pytest.importorskip("sklearn.linear_model", reason="held against scikit-learn")
    rng = np.random.default_rng(rows)
    x, y = rng.normal(1.0, 2.0, (rows, columns)), rng.random((rows, 3))
    theirs = linear.Ridge(alpha=l2).fit(x, y)
    w, b = ridge(x, y, l2)
    assert w == pytest.approx(theirs.coef_.T, abs=1e-8)
    assert b == pytest.approx(theirs.intercept_, abs=1e-8)
