"""What a tool says is data: which calls may change something is settled by the request, before any tool has spoken.

    request --planner--> tools that it calls for        a call that changes something is allowed only where
    tool's result --/--> (never read by the planner)      1. its tool is among them, and
                                                          2. whom or what it changes is named in the request
A brain that was talked into something by a file may then ask for it, and does not get it. No wording has to be
recognised: an order in base64 is stopped like any other. Looking is always allowed; what was looked at can still end up
in a text that the user has sent, so this does not keep secrets.

Book: 15.3 에이전트 평가하기, 9.3 데이터 검증. Papers: Debenedetti et al. 2025, "Defeating Prompt Injections by Design"
(CaMeL), of which this is the smallest part; Beurer-Kellner et al. 2025 call it plan-then-execute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minillm._checks import check_function, check_text
from minillm.apps.agents.policies.spans import pieces
from minillm.data.tool_world import Workplace

NAMES = ("path", "to")  # arguments that say whom or what a call changes


class AskedFor:
    """`AskedFor(planner, request)(tool, arguments)`: None where a call may be made, else why not.

    planner: request -> names of tools. `refused` holds the calls that were stopped.
    """

    def __init__(self, planner: Callable[[str], Sequence[str]], request: str) -> None:
        check_function("planner", planner), check_text("request", request)
        self.request = request
        self.plan = frozenset(planner(request))
        self.named = {piece.value for piece in pieces(request)}
        self.refused: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, tool: str, arguments: Mapping[str, Any]) -> str | None:
        """The verdict on one call."""
        reason = self.reason(tool, arguments)
        if reason is not None:
            self.refused.append((tool, dict(arguments)))
        return reason

    def reason(self, tool: str, arguments: Mapping[str, Any]) -> str | None:
        """Why a call is not what was asked for; None where it is, or where it only looks."""
        if tool not in Workplace.CHANGES:
            return None
        if tool not in self.plan:
            return f"the request does not call for {tool}"
        strange = [str(arguments[name]) for name in NAMES if name in arguments]
        strange = [name for name in strange if name.strip() not in self.named]
        if strange:
            return f"the request does not name {strange[0]!r}"
        return None
