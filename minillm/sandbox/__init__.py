"""Programs that a model wrote, run so that they can do no harm: counted steps, or a process of their own."""

from minillm.sandbox.interpreter import Interpreter, evaluate
from minillm.sandbox.meter import Failed, Limits, Refused, SandboxError, TooMuch
from minillm.sandbox.process import CannotConfine, Result, run_python
from minillm.sandbox.sizes import size_of

__all__ = [
    "CannotConfine",
    "Failed",
    "Interpreter",
    "Limits",
    "Refused",
    "Result",
    "SandboxError",
    "TooMuch",
    "evaluate",
    "run_python",
    "size_of",
]
