from __future__ import annotations

import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from semla_ros.machine import SPINS, limit_spinning, machine, resident_mib, threads_and_files, versions


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"GOMP_SPINCOUNT": SPINS}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, {"OMP_WAIT_POLICY": "PASSIVE"}),
    ],
)
def test_spinning_is_limited_unless_the_environment_says_otherwise(
    given: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    limit_spinning()
    assert {name: os.environ[name] for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY") if name in os.environ} == expected


@pytest.mark.parametrize("module", ["semla_ros.node.main", "semla_ros.cli"])
def test_the_commands_import_no_torch_before_spinning_is_limited(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_memory_of_this_and_of_another_process() -> None:
    assert resident_mib() > 10
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert resident_mib(other.pid) > 0
    assert math.isnan(resident_mib(2**30))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_threads_and_open_files_of_this_and_of_a_missing_process() -> None:
    before = threads_and_files()
    with open(os.devnull), ThreadPoolExecutor(1) as thread:
        thread.submit(int).result()
        assert threads_and_files() == (before[0] + 1, before[1] + 1)
    assert threads_and_files(2**30) == (0, 0)


def test_a_report_names_what_was_measured_on() -> None:
    assert {"processor", "cores", "memory", "gpu", "system"} <= machine().keys()
    assert {"semla_ros", "python", "torch", "opencv", "ros"} <= versions().keys()
