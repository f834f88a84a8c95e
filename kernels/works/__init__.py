"""The works of kernels/bench.py, a file a room; each has `works(size) -> list[Work]`."""
