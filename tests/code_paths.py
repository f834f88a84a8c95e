"""The variables by which torch, oneDNN, MKL, OpenBLAS and numba take the code path of another processor."""

from __future__ import annotations

import os

CODE_PATHS = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_CBWR",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
)


def as_the_machine_is() -> dict[str, str]:
    """The environment without CODE_PATHS: the libraries choose their code by the processor they find."""
    return {name: value for name, value in os.environ.items() if name not in CODE_PATHS}
