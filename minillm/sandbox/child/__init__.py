"""What runs inside the process of a stranger's program, before it: Python's own modules only, nothing of minillm."""
