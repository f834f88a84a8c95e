"""Checkers of the exercises, one module a lesson (lesson_02_1.py), loaded when `check` needs them."""
