"""Programs and queries that a model wrote, run so that they can do no harm: counted steps, or another process."""

from minillm.sandbox.interpreter import Interpreter, evaluate
from minillm.sandbox.meter import Failed, Limits, Refused, SandboxError, TooMuch
from minillm.sandbox.process import CannotConfine, Result, run_python
from minillm.sandbox.sizes import size_of
from minillm.sandbox.sql import Answer, SQLProcess, SQLSandbox

__all__ = [
    "Answer",
    "CannotConfine",
    "Failed",
    "Interpreter",
    "Limits",
    "Refused",
    "Result",
    "SQLProcess",
    "SQLSandbox",
    "SandboxError",
    "TooMuch",
    "evaluate",
    "run_python",
    "size_of",
]
