"""Processes of the tests. They end with their test, whatever happens."""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOURCES = (str(ROOT), str(ROOT / "test"))
STAND_IN = Path(__file__).with_name("stand_in_node.py")
RESERVATIONS: dict[int, socket.socket] = {}
LIMIT_S = 300.0  # a slow machine with two busy processes beside the tests needs a fraction of it
SEGMENT = re.compile("/dev/shm/fastdds_[0-9a-f]{16}")
SETPRIV = shutil.which("setpriv")
DIE_WITH_PARENT = [SETPRIV, "--pdeathsig", "KILL"] if SETPRIV else []  # where the test run itself is killed


class Process:
    """A Python file or module with rclpy in a process of its own; its output is kept.

    Args:
        domain: ROS domain.
        command: Arguments of Python.
        parameters: ROS parameters, for example ``{"fusion.k": 3}``.
        remap: ROS remappings, for example ``{"image": "/camera/image"}``.
        params_file: ROS parameter file.
        environment: Further environment variables.
    """

    def __init__(self, domain: int, *command, parameters=None, remap=None, params_file=None, **environment) -> None:
        given = [("-p", f"{name}:={value}") for name, value in (parameters or {}).items()]
        given += [("-r", f"{name}:={value}") for name, value in (remap or {}).items()]
        given += [("--params-file", str(params_file))] if params_file else []
        ros = ("--ros-args", *(word for pair in given for word in pair)) if given else ()
        words = [str(part) for part in (*command, *ros)]
        self._log = tempfile.NamedTemporaryFile()  # noqa: SIM115
        self.popen = subprocess.Popen(
            [*DIE_WITH_PARENT, sys.executable, *words],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                **environment,
                "ROS_DOMAIN_ID": str(domain),
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join(
                    filter(None, (str(ROOT), str(ROOT / "test"), os.environ.get("PYTHONPATH")))
                ),
            },
        )
        atexit.register(self.kill)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text(errors="replace")

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self.popen.poll()

    def handles_signals(self) -> bool:
        """Whether it has installed a handler of SIGTERM."""
        lines = Path(f"/proc/{self.popen.pid}/status").read_text().splitlines()
        caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
        return bool(caught >> (signal.SIGTERM - 1) & 1)

    def wait(self, what: str = "the process to end") -> int:
        """Waits until it ends; returns the exit code."""
        return int(until(lambda: None if self.code is None else str(self.code), what, self))

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Sends a signal and waits; returns the exit code."""
        self.popen.send_signal(how)
        return self.wait(f"the process to end after {how.name}")

    def kill(self) -> None:
        atexit.unregister(self.kill)
        if self.popen.poll() is None:
            mapped = self.shared_memory()
            self.popen.kill()
            self.popen.wait()
            for segment in mapped:
                remove_unless_owned(segment)

    def shared_memory(self) -> set[Path]:
        """Fast DDS's segments of shared memory that it uses: its own, and those of processes that send to it."""
        lines = Path(f"/proc/{self.popen.pid}/maps").read_text().splitlines()
        names = {line.split()[-1] for line in lines if "/dev/shm/fastdds_" in line}
        return {Path(name) for name in names if SEGMENT.fullmatch(name)}


def remove_unless_owned(segment: Path) -> None:
    """Removes a segment of shared memory, up to 70 MB, of a killed process. A living one holds a lock on a file."""
    lock = segment.with_name(f"{segment.name}_el")
    with suppress(OSError), lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        segment.unlink(missing_ok=True)
        lock.unlink()


def until(condition: Callable[[], Any], what: str, *processes: Process, limit_s: float = LIMIT_S) -> Any:
    """Waits for a condition and returns its value.

    Raises:
        AssertionError: It did not become true in time, or one of the processes has failed; with their logs.
    """
    end = time.monotonic() + limit_s
    while not (result := condition()):
        failed = [each.code for each in processes if each.code]
        if failed or time.monotonic() > end:
            why = f"a process ended with exit code {failed[0]}" if failed else f"limit of {limit_s:.0f} s"
            logs = "".join(f"\n--- log of process {each.popen.pid}\n{each.log}" for each in processes)
            raise AssertionError(f"waited in vain for {what} ({why}){logs}")
        time.sleep(0.01)
    return result


def free_domain() -> int:
    """A ROS domain that no process on this machine uses, and that no other test run takes."""
    first = (os.getpid() + time.monotonic_ns()) % 100
    for domain in (1 + (first + step) % 100 for step in range(100)):
        reservation = socket.socket(socket.AF_UNIX)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                reservation.bind(f"\0semla_test_domain_{domain}")
                probe.bind(("", 7410 + 250 * domain))  # where the domain's first participant listens
            except OSError:
                reservation.close()
                continue
        RESERVATIONS[domain] = reservation
        return domain
    raise RuntimeError("all ROS domains of this machine are in use")


def release(domain: int) -> None:
    """Lets other test runs take a domain of `free_domain`."""
    RESERVATIONS.pop(domain).close()
