"""The machine: what benchmarks report of it, and how threads wait on it."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from semla_ros import __version__

PACKAGES = ("torch", "numpy", "tokenizers", "open_clip_torch", "rosbags", "av")
ROS = "ros-rclpy"
SPINS = "30000"  # about 0.4 ms


def limit_spinning() -> None:
    """Limits how long OpenMP's threads wait for work in a busy loop. Call it before torch is imported.

    PyTorch's wheels bring GNU's OpenMP, whose threads spin for several milliseconds after each operation. Where other
    processes need the cores, they take most of the time away from the thread that everybody waits for. A shorter spin
    than `SPINS` would make frames slower on an idle machine. The variables OMP_WAIT_POLICY and GOMP_SPINCOUNT, if set,
    are left as they are.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def versions() -> dict[str, str]:
    """Returns the versions of this package, Python, the libraries whose speed matters, and ROS."""
    import cv2

    found = {"semla_ros": __version__, "python": platform.python_version()}
    found |= {"opencv": cv2.__version__} | {name: _version(name) for name in PACKAGES}
    distribution = os.environ.get("ROS_DISTRO")  # set by a sourced installation
    return found | {"ros": distribution or f"rclpy {_version(ROS)}"}


def machine() -> dict[str, str]:
    """Returns the names of processor, GPU and system, the number of cores and the memory."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": platform.platform(terse=True),
    }


def resident_mib(process: int | str = "self") -> float:
    """Returns the resident memory of a process, by default this one, in MiB; NaN if the system does not tell."""
    statm = Path(f"/proc/{process}/statm")
    pages = int(statm.read_text().split()[1]) if statm.is_file() else float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def threads_and_files(process: int | str = "self") -> tuple[int, int]:
    """Returns the numbers of threads and of open files of a process, by default this one; 0 where /proc is missing."""
    folders = (Path(f"/proc/{process}/{name}") for name in ("task", "fd"))
    threads, files = (len(list(folder.iterdir())) if folder.is_dir() else 0 for folder in folders)
    return threads, files


def peak_mib() -> float:
    """Returns the largest resident memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not from a package"


def _processor() -> str:
    names = Path("/proc/cpuinfo")
    lines = names.read_text().splitlines() if names.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
