"""Child processes of the demo."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from semla_ros.errors import SemlaError

STOP_S = 60.0  # the recorder compresses its bag when it ends


class DemoError(SemlaError):
    """A process of the demo could not start, or ended too early."""


class Process:
    """A Python module that runs as a child process until the end of the ``with`` block at the latest.

    Args:
        name: Name of the process in messages and of its log, ``<name>.log``.
        command: Module and its arguments.
        logs: Folder of the logs.
        environment: Environment variables, see `semla_ros.node.network.local_network`.
    """

    def __init__(self, name: str, command: Sequence[str], logs: Path, environment: dict[str, str]) -> None:
        self.name, self.log = name, logs / f"{name}.log"
        self._said = logs / f"{name}.jsonl"
        with self.log.open("w") as log, self._said.open("w") as said:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", *command], stdin=subprocess.DEVNULL, stdout=said, stderr=log, env=environment
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def says(self) -> dict[str, Any]:
        """The last line that it printed, a JSON object. Empty before the first line."""
        complete = self._said.read_text().rpartition("\n")[0]
        newest: dict[str, Any] = json.loads(complete.rpartition("\n")[2] or "{}")
        return newest

    @property
    def ended(self) -> bool:
        """Whether it has ended.

        Raises:
            DemoError: It ended with an error.
        """
        code = self._popen.poll()
        if code:
            raise self.failure(f"ended with exit code {code}")
        return code is not None

    def failure(self, what: str) -> DemoError:
        """An error for this process, with the end of its log."""
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        return DemoError(
            f"the {self.name} {what}", where=self.log, hint=f"The end of its log:\n{tail}" if tail else None
        )

    def stop(self) -> None:
        """Sends SIGTERM, and SIGKILL if it has not ended after `STOP_S` seconds.

        Not SIGINT: a shell without job control starts ``make demo &`` with SIGINT ignored, and children inherit that.
        """
        if self._popen.poll() is None:
            self._popen.terminate()
        try:
            self._popen.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


def wait(condition: Callable[[], bool], timeout_s: float, *needed: Process) -> bool:
    """Waits for a condition.

    Args:
        condition: Checked every 50 ms.
        timeout_s: Longest time to wait, seconds.
        *needed: Processes without which the condition cannot become true.

    Returns:
        Whether the condition became true in time.

    Raises:
        DemoError: One of the needed processes has ended.
    """
    end = time.monotonic() + timeout_s
    while not condition():
        for process in needed:
            if process.ended:
                raise process.failure("ended too early")
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
