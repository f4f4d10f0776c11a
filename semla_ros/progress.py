"""Progress bars that stay readable where no terminal shows them."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

LOG_INTERVAL_S = 60.0


class ProgressBar(tqdm):  # type: ignore[type-arg]
    """A tqdm bar. If standard error is no terminal, it writes one line per minute, and none for shorter work.

    Args:
        *args: As for tqdm.
        **options: As for tqdm; ``mininterval`` and ``leave`` count on a terminal only.
    """

    _logged: float = -1  # count of the last line in the log

    def __init__(self, *args: Any, **options: Any) -> None:
        self._in_log = not sys.stderr.isatty()
        if self._in_log:
            options |= {"mininterval": LOG_INTERVAL_S, "maxinterval": LOG_INTERVAL_S, "delay": LOG_INTERVAL_S}
            options["leave"] = False
        super().__init__(*args, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Shows the status. tqdm calls it when the interval is over, and once more with an empty ``msg`` at the end."""
        if not self._in_log:
            super().display(msg, pos)
        elif self.n != self._logged:
            self._logged = self.n
            print(self, file=sys.stderr, flush=True)
