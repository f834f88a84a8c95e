"""The works of kernels/measure/bench.py, a file a room; each has `works(size) -> list[Work]`."""
