"""Whole applications on top of the stack: questions to a database, a chat behind guardrails."""
