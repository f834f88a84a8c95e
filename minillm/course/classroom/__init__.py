"""Exercises and classes: `check` and its limits, copies to study, lessons handed out and graded."""
