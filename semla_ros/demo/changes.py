"""Assignment of the node's swaps to the changes of the drive's domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from semla_ros.config import Config
from semla_ros.demo.drive import Stretch
from semla_ros.recordings.replay import Swap


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the drive's domain.

    Attributes:
        before: Domain before the change.
        after: Domain after the change.
        begin_ns: Stamp at which the transition begins.
        deadline_ns: Stamp from which a swap no longer counts as a reaction to this change.
        swaps: Swaps from ``begin_ns`` to ``deadline_ns``.
    """

    before: str
    after: str
    begin_ns: int
    deadline_ns: int
    swaps: tuple[Swap, ...]


@dataclass(frozen=True, slots=True)
class SwapReport:
    """All swaps of a run, by their cause.

    Attributes:
        first: Swap to the first mixture; None if there was none.
        changes: Changes of the drive's domain, each with its swaps.
        stray: Swaps without a change of domain.
    """

    first: Swap | None
    changes: tuple[Change, ...]
    stray: tuple[Swap, ...]


def settle_ns(config: Config) -> int:
    """Time that the tracker needs after a change, by its settings, in nanoseconds.

    The swap takes two time constants of the moving average, one period of the navigator and the debounce time. A second
    swap may follow, after the minimum interval and another period: the mixture is retrieved again when the average
    rests.
    """
    tracker, period_s = config.tracker, config.navigator.period_s
    swap_s = 2 * tracker.ema_time_s + period_s + tracker.debounce_s
    return round(1e9 * (swap_s + max(tracker.min_interval_s, tracker.debounce_s) + period_s))


def assign(swaps: Sequence[Swap], stretches: Sequence[Stretch], settle: int) -> SwapReport:
    """Assigns each swap to the change of domain that caused it.

    Args:
        swaps: Swaps in order of time. The first one leads to the first mixture.
        stretches: Stretches of the drive in order of time.
        settle: Time after a change in which a swap counts as a reaction to it, nanoseconds, see `settle_ns`.
    """
    first, later = (swaps[0], swaps[1:]) if swaps else (None, ())
    steady = [stretch for stretch in stretches if stretch.steady]
    changes = tuple(_change(*pair, later, settle) for pair in pairwise(steady))
    owned = {swap for change in changes for swap in change.swaps}
    return SwapReport(first, changes, tuple(swap for swap in later if swap not in owned))


def _change(before: Stretch, after: Stretch, swaps: Sequence[Swap], settle: int) -> Change:
    begin, deadline = before.end_ns, min(after.begin_ns + settle, after.end_ns)
    own = tuple(swap for swap in swaps if begin <= swap.stamp_ns < deadline)
    return Change(before.domain, after.domain, begin, deadline, own)
