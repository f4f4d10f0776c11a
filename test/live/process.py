"""The node as a process of its own, its log kept."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
STAND_IN = Path(__file__).with_name("stand_in_node.py")


class Process:
    """A Python file with rclpy in a process of its own.

    Parameters are given as ``{"fusion.k": 3}``, remappings as ``{"image": "/camera/image"}``.
    """

    def __init__(self, domain: int, *command, parameters=None, remap=None, params_file=None, **environment) -> None:
        given = [("-p", f"{name}:={value}") for name, value in (parameters or {}).items()]
        given += [("-r", f"{name}:={value}") for name, value in (remap or {}).items()]
        given += [("--params-file", str(params_file))] if params_file else []
        arguments = [str(part) for part in (*command, "--ros-args", *(word for pair in given for word in pair))]
        self.domain = domain
        self._log = tempfile.NamedTemporaryFile()  # noqa: SIM115
        self.popen = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                **environment,
                "ROS_DOMAIN_ID": str(domain),
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(ROOT),
            },
        )

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text()

    def wait(self, timeout: float = 20.0) -> int:
        return self.popen.wait(timeout)

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Ends it; returns the exit code."""
        self.popen.send_signal(how)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.popen.kill()
            raise


def free_domain() -> int:
    """A ROS domain that nobody on this machine uses."""
    first = (os.getpid() + time.monotonic_ns()) % 100
    for domain in (1 + (first + step) % 100 for step in range(100)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", 7410 + 250 * domain))  # where the domain's first participant listens
                return domain
            except OSError:
                continue
    raise RuntimeError("all ROS domains of this machine are in use")
