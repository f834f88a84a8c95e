"""Three ways to put requests together (배치 전략), on one engine.

    static       a batch of a fixed size: wait until it is full, run it until its longest text ends       (일반 배칭)
    dynamic      the same, but wait for others only so long: a smaller batch now, not a full one later    (동적 배칭)
    continuous   at every step whoever is done leaves, and whoever waits takes the place                  (연속 배칭)

In a static or dynamic batch a text that is done keeps its place, is computed on, and keeps its memory until the
longest is done; memory for the longest possible text is set aside beforehand. Time is counted in steps, so a schedule
can be repeated. Book 8.1 배치 전략. Paper: Yu et al. 2022 (Orca).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minillm.inference.engine.scheduler import Scheduler


class Continuous:
    """Whoever fits may come at every step."""

    in_waves = False

    def opens(self, scheduler: Scheduler) -> bool:
        """Whether waiting requests may come in now."""
        return True


class Static:
    """All come together and leave together; a batch that does not fill up starts when nobody has come for `PATIENCE`
    steps."""

    in_waves = True
    PATIENCE = 64

    def opens(self, scheduler: Scheduler) -> bool:
        """Whether the next batch starts now."""
        if scheduler.running:
            return False
        full = sum(request.slots for request in scheduler.waiting) >= scheduler.max_batch_size
        return full or scheduler.no_more_come or self.waited(scheduler) >= self.PATIENCE

    def waited(self, scheduler: Scheduler) -> int:
        """Steps that count: since the last one came."""
        return scheduler.clock - scheduler.waiting[-1].arrived


class Dynamic(Static):
    """As Static, but the first one waits `PATIENCE` steps at most once the batch before it has ended."""

    PATIENCE = 4

    def waited(self, scheduler: Scheduler) -> int:
        """Steps that count: since the first of those that wait came."""
        return scheduler.clock - scheduler.waiting[0].arrived


BATCHING = {"continuous": Continuous, "dynamic": Dynamic, "static": Static}
