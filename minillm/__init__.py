"""minillm: every system of a modern LLM stack, built by hand. Start with `minillm tour`."""

__version__ = "0.1.0"
