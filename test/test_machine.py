from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest

from semla_ros.machine import SPINS, limit_spinning, machine, resident_mib, versions


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


def test_a_report_names_what_was_measured_on() -> None:
    assert {"processor", "cores", "memory", "gpu", "system"} <= machine().keys()
    assert {"semla_ros", "python", "torch", "opencv", "ros"} <= versions().keys()
