"""`run_until_signal` in a process of its own."""

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from live.process import LIMIT_S
from paths import ROOT

from semla_ros.node.signals import SIGNALS

PROGRAM = """
import sys, time
from semla_ros.node.signals import run_until_signal
def work(stopping):
    print("working", flush=True)
    {body}
sys.exit(run_until_signal(work, grace_s={grace_s}))
"""
WAIT = """
    while not stopping(): time.sleep(0.01)
    print("closed", flush=True)
    return 7
"""


@pytest.fixture
def start():
    """Starts a program whose work has a given body; it is ended after the test."""
    programs = []

    def start(body, grace_s=60.0, wait=True):
        source = PROGRAM.format(body=body.strip(), grace_s=grace_s)
        program = subprocess.Popen(
            [sys.executable, "-c", source], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )  # fmt: skip
        programs.append(program)
        if wait:
            assert program.stdout.readline() == "working\n"
        return program

    yield start
    for program in programs:
        program.kill()
        program.communicate()


def test_the_exit_code_of_work_that_returns_is_the_processes(start):
    program = start("return 3")
    assert program.communicate(timeout=LIMIT_S) == ("", "")
    assert program.returncode == 3


@pytest.mark.parametrize("how", SIGNALS)
def test_work_is_told_to_stop_and_the_process_ends_with_0(start, how):
    program = start(WAIT)
    program.send_signal(how)
    assert program.communicate(timeout=LIMIT_S) == ("closed\n", "")
    assert program.returncode == 0


@pytest.mark.parametrize("how", SIGNALS)
def test_work_that_does_not_stop_is_left_after_the_grace_time(start, how):
    program = start("time.sleep(10_000)", grace_s=0.1)
    program.send_signal(how)
    assert program.communicate(timeout=LIMIT_S) == ("", "")
    assert program.returncode == 0


def test_output_that_is_still_buffered_is_written_before_the_end(start):
    last = "print('frames: 7'); print('one lost', file=sys.stderr, end='')"
    program = start(f"while not stopping(): time.sleep(0.01)\n    {last}")
    program.send_signal(signal.SIGTERM)
    assert program.communicate(timeout=LIMIT_S) == ("frames: 7\n", "one lost")
    assert program.returncode == 0


def test_output_that_nobody_can_receive_does_not_prevent_the_end(start):
    program = start("while not stopping(): time.sleep(0.01)\n    print('frames: 7')")
    program.stdout.close()
    program.send_signal(signal.SIGTERM)
    assert program.wait(LIMIT_S) == 0


def test_further_signals_while_it_ends_change_nothing(start):
    program = start("while not stopping(): time.sleep(0.01)\n    time.sleep(1.0)\n    print('closed', flush=True)")
    for how in (*SIGNALS, *SIGNALS):
        program.send_signal(how)
    assert program.communicate(timeout=LIMIT_S) == ("closed\n", "")
    assert program.returncode == 0


def test_a_signal_that_does_not_wake_the_main_thread_is_handled(start):
    """As one that arrives in the moment before its wait begins: here another thread gets it."""
    received = "import signal, threading\n    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)"
    program = start(f"{received}\n    {WAIT.strip()}", wait=False)  # it may have ended before its first line is read
    assert program.communicate(timeout=LIMIT_S) == ("working\nclosed\n", "")
    assert program.returncode == 0


def test_shared_memory_of_work_that_does_not_stop_is_removed(start):
    name = f"/dev/shm/fastdds_{secrets.token_hex(8)}"
    body = f"""import fcntl
    open({name!r}, "w").write("x")
    lock = open({name + "_el"!r}, "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    print("locked", flush=True)
    time.sleep(10_000)"""
    program = start(body, grace_s=0.1)
    assert program.stdout.readline() == "locked\n"
    program.send_signal(signal.SIGTERM)
    program.communicate(timeout=LIMIT_S)
    assert not Path(name).exists()
    assert not Path(f"{name}_el").exists()


def test_a_signal_that_the_parent_ignored_is_handled(start):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        program = start(WAIT)
    finally:
        signal.signal(signal.SIGINT, before)
    program.send_signal(signal.SIGINT)
    assert program.communicate(timeout=LIMIT_S) == ("closed\n", "")


def test_an_exception_is_printed_and_gives_exit_code_1(start):
    program = start("raise ValueError('odd')")
    _, errors = program.communicate(timeout=LIMIT_S)
    assert program.returncode == 1
    assert "ValueError: odd" in errors


@pytest.mark.parametrize(("code", "expected"), [("5", 5), ("'a reason'", 1)])
def test_an_exit_from_the_work_ends_the_process_with_its_exit_code(start, code, expected):
    program = start(f"sys.exit({code})")
    program.communicate(timeout=LIMIT_S)
    assert program.returncode == expected
