"""What a tool says is data: it is marked as data, checked by rails, and cannot lead to a forbidden tool.

    stops(name, arguments, steps)   why a call may not be made: forbidden, or not after data was read, or not allowed
    reads(name, observation)        the rails of apps/guardrails on what came back
    shown(name, observation)        <data tool="name"> ... </data>; what a tool says as it fails is marked, too

A mark and a rail lower the odds that a model obeys a text; only `stops` settles it, as no wording gets round a list.
Book: 15.3 에이전트 평가하기, 9.3 데이터 검증. Left out: keeping secrets that were read out of allowed calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minillm._checks import check_function, check_text, describe, is_listing
from minillm.apps.agents.tools import Observation

if TYPE_CHECKING:
    from minillm.apps.agents.transcript import Step

Allows = Callable[[str, Mapping[str, Any]], str | None]  # None, or why a call may not be made


class ToolGuard:
    """rails: a Guard, or any function text -> Verdict. forbidden: tools never called. after_data: tools that are closed
    once a tool has spoken, be it by an error. allows: (tool, arguments) -> None or why not. An error of a rail or of
    `allows` is a no."""

    def __init__(
        self,
        rails: Callable[[str], Any] | None = None,
        forbidden: Iterable[str] = (),
        after_data: Iterable[str] = (),
        allows: Allows | None = None,
    ) -> None:
        for name, listed in (("forbidden", forbidden), ("after_data", after_data)):
            if not is_listing(listed):
                raise ValueError(f"{name} must be a list of tools' names, got {describe(listed)}")
        self.rails, self.allows = check_function("rails", rails), check_function("allows", allows)
        self.forbidden = frozenset(check_text("a forbidden tool", one) for one in forbidden)
        self.after_data = frozenset(check_text("a tool after data", one) for one in after_data)

    def stops(self, name: str, arguments: Mapping[str, Any], steps: Sequence[Step]) -> str | None:
        """Why a call may not be made; None where it may."""
        if name in self.forbidden:
            return f"{name} may not be called"
        if name in self.after_data and any(map(_spoke, steps)):
            return f"{name} may not be called after a tool has been read"
        try:
            return None if self.allows is None else self.allows(name, arguments)
        except Exception as error:
            return f"it could not be checked ({type(error).__name__})"

    def reads(self, name: str, seen: Observation) -> Observation:
        """The observation, as the rails leave it."""
        if self.rails is None:
            return seen
        text = seen.text if seen.error is None else seen.error
        try:
            verdict = self.rails(text)
            allowed, left = verdict.allowed, verdict.text(text)
        except Exception as error:
            why = f"what {name} said could not be checked ({type(error).__name__})"
            return Observation("", why, seen.seconds)
        if not allowed:
            return Observation("", f"what {name} said was held back: {verdict.reason}", seen.seconds)
        return seen._replace(text=left) if seen.error is None else seen._replace(error=left)

    def shown(self, name: str, seen: Observation) -> str:
        """What the model is told of an observation."""
        if seen.error is None:
            return self.marked(name, seen.text)
        return "Error: " + (self.marked(name, seen.error) if seen.spoken else seen.error)

    def marked(self, name: str, text: str) -> str:
        """The text between marks that it cannot close itself."""
        inside = re.sub(r"<(?=\s*/?\s*data)", "&lt;", text, flags=re.IGNORECASE)
        return f'<data tool="{name}">\n{inside}\n</data>'


def _spoke(step: Step) -> bool:
    return step.observation.spoken or bool(step.observation.text)


OPEN = ToolGuard()  # marks, and forbids nothing
