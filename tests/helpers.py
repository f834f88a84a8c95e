"""Small tools that several test files use."""

import os

# Variables that make torch, oneDNN, MKL, OpenBLAS and numba take the code path of another processor.
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


def soak_count(many: int) -> int:
    """How many of `many` random examples to run: a twentieth, or the share that MINILLM_SOAK_SHARE names.

    `make soak` sets it to 1; everything else, CI too, leaves it alone. At least five, however small the share.
    """
    share = float(os.environ.get("MINILLM_SOAK_SHARE", "0.05"))
    return max(min(many, 5), round(many * share))


def cuts(data: bytes, at_most: int = 60) -> list[int]:
    """Lengths at which to cut a file: every byte of a short one, else the ends and even steps between."""
    if len(data) <= at_most:
        return list(range(len(data)))
    step = max(1, len(data) // (at_most - 20))
    return sorted({*range(10), *range(len(data) - 10, len(data)), *range(0, len(data), step)})
