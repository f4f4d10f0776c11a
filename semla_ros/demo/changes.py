"""Did each change of the weather bring its swap, and nothing else one?"""

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
        before: The domain that ends.
        after: The domain that comes.
        begin_ns: When the weather begins to pass.
        deadline_ns: A swap after this is none of its own.
        swaps: The swaps in between.
    """

    before: str
    after: str
    begin_ns: int
    deadline_ns: int
    swaps: tuple[Swap, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """All swaps, told apart.

    Attributes:
        first: The first mixture; None where there was none.
        changes: The drive's changes, with their swaps.
        stray: Swaps inside a steady stretch.
    """

    first: Swap | None
    changes: tuple[Change, ...]
    stray: tuple[Swap, ...]


def settle_ns(config: Config) -> int:
    """How long after a change the tracker may take by its own settings.

    The moving average needs about two time constants, the next embedding up to a period, the debounce clock its time.
    """
    tracker = config.tracker
    return round(1e9 * (2 * tracker.ema_time_s + config.navigator.period_s + tracker.debounce_s))


def judge(swaps: Sequence[Swap], stretches: Sequence[Stretch], settle: int) -> Verdict:
    """Tells swaps apart.

    Args:
        swaps: In order of time; the first is the first mixture.
        stretches: Of the drive, in order.
        settle: Nanoseconds after a change in which a swap is still its own.
    """
    first, later = (swaps[0], swaps[1:]) if swaps else (None, ())
    steady = [stretch for stretch in stretches if stretch.steady]
    changes = tuple(_change(*pair, later, settle) for pair in pairwise(steady))
    owned = {swap for change in changes for swap in change.swaps}
    return Verdict(first, changes, tuple(swap for swap in later if swap not in owned))


def _change(before: Stretch, after: Stretch, swaps: Sequence[Swap], settle: int) -> Change:
    begin, deadline = before.end_ns, min(after.begin_ns + settle, after.end_ns)
    own = tuple(swap for swap in swaps if begin <= swap.stamp_ns < deadline)
    return Change(before.domain, after.domain, begin, deadline, own)
