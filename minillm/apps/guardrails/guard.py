"""Rails in order, before a model and after it.

    text -> length -> personal data (masked) -> phrases -> classifier -> ... -> text that may go on, or a refusal

The first refusal ends it: cheap rails stand first, rails that ask a model last. A rail that rewrites hands its text to
the next one. Every rail looks into base64 as well. A rail that breaks down stops everything (RailError): what could not
be checked does not go on.

Book: 9.3 데이터 검증. Peers: NeMo Guardrails, Guardrails AI.
"""

from __future__ import annotations

from collections.abc import Iterable

from minillm._checks import check_flag, check_text, describe, is_listing
from minillm.apps.guardrails.hidden import look_inside
from minillm.apps.guardrails.verdict import PASSED, Rail, RailError, Verdict, name_of


class Guard:
    """`Guard([rail, rail, ...]).check(text)`; a Guard is a rail, too. look_in_base64: rails also see what is hidden."""

    def __init__(self, rails: Iterable[Rail], look_in_base64: bool = True):
        if not is_listing(rails):
            raise ValueError(f"rails must be a list of functions text -> Verdict, got {describe(rails)}")
        self.rails = list(rails)
        for rail in self.rails:
            if not callable(rail):
                raise ValueError(f"a rail must be a function text -> Verdict, got {describe(rail)}")
        self.look_in_base64 = check_flag("look_in_base64", look_in_base64)

    @property
    def local(self) -> bool:
        """Whether nothing that its rails find reaches over the end of a sentence."""
        return all(getattr(rail, "local", False) for rail in self.rails)

    def wide(self) -> Guard:
        """The rails that judge a text as a whole."""
        return Guard([rail for rail in self.rails if not getattr(rail, "local", False)], self.look_in_base64)

    def check(self, text: str) -> Verdict:
        """What the rails say together. `span` is in the text as it came to the first rail that found something.

        ValueError for what is no text; RailError where a rail fails.
        """
        return run_rails(self.rails, check_text("text", text), 2 if self.look_in_base64 else 0)

    __call__ = check


def run_rails(rails: Iterable[Rail], text: str, depth: int = 2) -> Verdict:
    """Each rail on the text that the rails before it left, until one refuses."""
    reasons, span, now = [], None, text
    for rail in rails:
        verdict = look_inside(rail, now, run_one, depth)
        span = span or verdict.span
        reasons += [verdict.reason] if verdict.reason else []
        if not verdict.allowed:
            return Verdict(False, verdict.reason, verdict.span, verdict.rewritten)
        now = verdict.text(now)
    return Verdict(True, "; ".join(reasons), span, now) if reasons else PASSED


def run_one(rail: Rail, text: str) -> Verdict:
    """The rail's verdict; RailError for an exception, and for anything that is no Verdict."""
    try:
        verdict = rail(text)
    except RailError:
        raise
    except Exception as error:
        raise RailError(f"rail {name_of(rail)!r} failed: {type(error).__name__}: {error}") from error
    if not isinstance(verdict, Verdict) or not isinstance(verdict.allowed, bool):
        raise RailError(f"rail {name_of(rail)!r} must give a Verdict, got {describe(verdict)}")
    return verdict
