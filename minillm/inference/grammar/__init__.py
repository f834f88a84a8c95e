"""Structured output (구조화된 출력): texts that follow a JSON schema, token by token (book 8.4).

schema --json_schema.py--> pieces --regular.py--> automaton over bytes --guide.py--> which tokens may come next
"""
