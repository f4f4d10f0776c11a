"""SIGINT and SIGTERM: the main thread waits for them while another thread does the work."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from semla_ros.node.shared_memory import remove_own_segments

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOOK_AGAIN_S = 0.1
GRACE_S = 3.0  # `ros2 launch` sends the next, harder signal after 5 s

Stopping = Callable[[], bool]


class Stopped(Exception):  # noqa: N818  # not an error
    """A wait ended early because the process has received a signal to end."""


def run_until_signal(work: Callable[[Stopping], int], grace_s: float = GRACE_S) -> int:
    """Runs a function in a thread of its own until it returns, or until the process gets SIGINT or SIGTERM.

    The main thread only waits. It therefore notices a signal at any moment, during long imports as well, and no
    exception is raised in the middle of the work. Both signals are handled even where the parent process had them
    ignored, as shells do for commands started with ``&``. Call it in the main thread.

    After a signal the work has ``grace_s`` seconds to return. Then the process ends at once with exit code 0: Python
    would otherwise wait for every thread that still loads or computes. Its shared memory is removed, and what it has
    printed is written.

    Args:
        work: Gets a function that returns True as soon as a signal has arrived, and returns the exit code. An
            exception is printed with its traceback and gives exit code 1.
        grace_s: Largest time from a signal to the end of the process, seconds.

    Returns:
        The exit code of the work, where no signal arrived before it returned.
    """
    codes: SimpleQueue[int | None] = SimpleQueue()  # put() is safe in a signal handler
    stop = threading.Event()
    handle_signals(lambda *_: codes.put(None))
    thread = threading.Thread(target=lambda: codes.put(_exit_code(work, stop.is_set)), name="semla_main", daemon=True)
    thread.start()
    code = _first(codes)
    if code is None:
        stop.set()
        thread.join(grace_s)
        remove_own_segments()  # what is still open now is not closed any more
        _flush()
        os._exit(0)
    handle_signals(signal.SIG_IGN)  # the process is ending already
    return code


def _first(codes: SimpleQueue[int | None]) -> int | None:
    """Waits for the first entry.

    It looks again from time to time: a signal that arrives in the moment before the wait begins, or in another thread,
    does not end the wait, and Python calls its handler only when the main thread runs again.
    """
    while True:
        try:
            return codes.get(timeout=LOOK_AGAIN_S)
        except Empty:
            continue


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # it is closed, or nobody reads it any more
            stream.flush()


def handle_signals(handler: Callable[..., object] | signal.Handlers) -> None:
    """Sets the handler of SIGINT and SIGTERM."""
    for each in SIGNALS:
        signal.signal(each, handler)


def _exit_code(work: Callable[[Stopping], int], stopping: Stopping) -> int:
    try:
        return work(stopping)
    except SystemExit as error:  # of argparse
        return error.code if isinstance(error.code, int) else 1
    except BaseException:
        if not stopping():
            traceback.print_exc()
        return 1
