"""Small tools that several test files use."""


def cuts(data: bytes, at_most: int = 60) -> list[int]:
    """Lengths at which to cut a file: every byte of a short one, else the ends and even steps between."""
    if len(data) <= at_most:
        return list(range(len(data)))
    step = max(1, len(data) // (at_most - 20))
    return sorted({*range(10), *range(len(data) - 10, len(data)), *range(0, len(data), step)})
