"""Exercises: the checkers and `check`, the limit on how long an answer may run, and assignments for a class."""
