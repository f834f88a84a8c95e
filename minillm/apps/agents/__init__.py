"""Agents: a loop, tools, memory, people, several agents; policies and how they are examined."""
