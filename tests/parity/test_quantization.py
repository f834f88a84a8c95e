"""NF4 against its derivation from scipy's normal quantiles, as its authors publish it."""

import numpy as np
import pytest

from minillm.quantization import NF4_CODEBOOK, normal_codebook

stats = pytest.importorskip("scipy.stats", reason="the peer of this file: pip install -e '.[parity]'")


def test_nf4_equals_scipys_quantiles():
    outermost = 0.9677083  # as printed by the authors
    positive = stats.norm.ppf(np.linspace(outermost, 0.5, 9)[:-1])
    negative = -stats.norm.ppf(np.linspace(outermost, 0.5, 8)[:-1])
    values = np.sort(np.concatenate([positive, negative, [0.0]]))
    values /= values.max()
    np.testing.assert_allclose(NF4_CODEBOOK.numpy(), values, atol=3e-7)
    np.testing.assert_allclose(normal_codebook(4).numpy(), values, atol=3e-7)
