"""What a rail says about a text, and the errors by name of what is behind the rails.

    rail(text) -> Verdict(allowed, reason, span, rewritten)

A rail is any function of this form. It passes a text, refuses it, or passes a rewritten one (a number masked). It never
raises for a text, whatever the text is. Only a model that a rail asks can fail; then nothing has been checked, and
RailError says so: a failed check is not a passed one.

Book: 9.3 데이터 검증. Left out: scores beside the verdict (the rails that have one offer it as a method).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """allowed: whether the text may go on. reason: "" where nothing was found.

    span: (start, end) of what was found first, in the text that the rail was given. rewritten: the text to go on with
    instead; None where it stays as it is.
    """

    allowed: bool
    reason: str = ""
    span: tuple[int, int] | None = None
    rewritten: str | None = None

    def text(self, given: str) -> str:
        """The text to go on with, of the one that was given."""
        return given if self.rewritten is None else self.rewritten


Rail = Callable[[str], Verdict]
PASSED = Verdict(True)


class GuardError(RuntimeError):
    """Something around a guarded model failed or was refused; its kinds say what."""


class RailError(GuardError):
    """A rail could not decide: the model that it asks failed. The text has not been checked."""


class ModelError(GuardError):
    """The guarded model failed, or answered with nothing that is an answer."""


class RefusedError(GuardError):
    """A text was refused where no refusal can be said instead: `choose` and `json`. `verdict` says why."""

    def __init__(self, verdict: Verdict):
        super().__init__(f"refused: {verdict.reason}")
        self.verdict = verdict


def name_of(rail: Rail) -> str:
    """What a rail is called in a reason: its `name`, its function's name, or its class's."""
    return str(getattr(rail, "name", None) or getattr(rail, "__name__", None) or type(rail).__name__)
