"""Plausible wrong answers to every exercise, one module a lesson; tests/course/test_exercises.py proves each fails."""
