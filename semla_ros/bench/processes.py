"""Processes that a benchmark starts and ends: the live node, a camera, other load."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from semla_ros.errors import SemlaError
from semla_ros.resources import PACKAGE

LIMIT_S = 600.0  # on a machine that is slow and loaded
COMPUTE = """
import os, sys
while os.getppid() == int(sys.argv[1]):  # it ends with the benchmark, however that ends
    sum(range(100_000))
"""
ACTIVE = "active: "  # what the node logs when it is ready


class BenchError(SemlaError):
    """A process of the benchmark ended, or did not do its work in time."""


class Process:
    """A Python module as a process of its own; use it in a ``with`` statement, which ends it.

    Args:
        module: Module to run, and its arguments.
        environment: Variables that differ from this process's; a value of None removes one.

    Attributes:
        pid: Process id.
    """

    def __init__(self, module: Sequence[str], environment: Mapping[str, str | None] | None = None) -> None:
        self.name = module[0]
        self._log = tempfile.NamedTemporaryFile("w+", prefix="semla_bench_")  # noqa: SIM115  # closed with the process
        self._popen = subprocess.Popen(
            [sys.executable, "-m", *module], stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT,
            env=_environment(environment or {}),
        )  # fmt: skip
        self.pid = self._popen.pid

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self._popen.poll() is None:
            self._popen.terminate()  # not SIGINT, which `semla bench &` in a script makes children ignore
        try:
            self._popen.wait(30)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._log.close()

    @property
    def log(self) -> str:
        """All that it has printed."""
        return Path(self._log.name).read_text(errors="replace")

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._popen.poll() is not None

    def wait_for(self, text: str, limit_s: float = LIMIT_S, poll_s: float = 0.01) -> None:
        """Returns when the text is in its log.

        Raises:
            BenchError: It has ended without printing it, or the limit is over.
        """
        end = time.monotonic() + limit_s
        while text not in self.log:
            if self._popen.poll() is not None and text not in self.log:
                raise self.failure(f"ended with code {self._popen.returncode}", text)
            if time.monotonic() > end:
                raise self.failure(f"nothing of that within {limit_s:.0f} s", text)
            time.sleep(poll_s)

    def result(self, limit_s: float = LIMIT_S) -> str:
        """Waits for its end and returns its last line.

        Raises:
            BenchError: It has ended with an error, or the limit is over.
        """
        try:
            code = self._popen.wait(limit_s)
        except subprocess.TimeoutExpired as error:
            raise self.failure(f"runs for more than {limit_s:.0f} s", "its end") from error
        if code:
            raise self.failure(f"ended with code {code}", "code 0")
        return self.log.strip().rpartition("\n")[2]

    def failure(self, got: str, expected: str) -> BenchError:
        """The error for something that went wrong, with the end of the log."""
        tail = "\n".join(self.log.splitlines()[-15:])
        return BenchError("process failed", where=self.name, got=got, expected=expected, hint=f"Its log ends:\n{tail}")


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Keeps cores busy: that many processes of ordinary priority that only compute, inside a ``with`` statement."""
    command = [sys.executable, "-c", COMPUTE, str(os.getpid())]
    started = [subprocess.Popen(command, stdin=subprocess.DEVNULL) for _ in range(processes)]
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.wait()


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    merged = {**os.environ, "PYTHONPATH": path, **changes}
    return {name: value for name, value in merged.items() if value is not None}
