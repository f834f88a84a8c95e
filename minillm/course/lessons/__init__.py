"""Lessons as files: their names and map, reading a notebook, the rules each keeps, and the command that writes one."""
