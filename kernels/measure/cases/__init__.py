"""The configurations that ship, a file a room: each has `CASES`, which compile_ahead.py compiles without a GPU."""
