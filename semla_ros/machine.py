"""What figures were measured on."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from semla_ros import __version__

PACKAGES = ("torch", "numpy", "open_clip_torch", "rosbags", "av")
ROS = "ros-rclpy"


def versions() -> dict[str, str]:
    """Of this package, Python, the libraries that matter, and ROS."""
    import cv2

    found = {"semla_ros": __version__, "python": platform.python_version()}
    found |= {"opencv": cv2.__version__} | {name: _version(name) for name in PACKAGES}
    distribution = os.environ.get("ROS_DISTRO")  # a sourced installation
    return found | {"ros": distribution or f"rclpy {_version(ROS)}"}


def machine() -> dict[str, str]:
    """Processor, cores, memory, GPU and system."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": platform.platform(terse=True),
    }


def resident_mib() -> float:
    """Memory this process holds, MiB; NaN where the system does not tell."""
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text().split()[1]) if statm.is_file() else float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_mib() -> float:
    """The most memory this process ever held, MiB."""
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
