"""Lesson 11_1: what it says of other first weights holds."""
