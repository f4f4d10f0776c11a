"""A ROS network of processes on this machine only, as the demo and the benchmarks use it."""

from __future__ import annotations

import os
import random
import socket

from semla_ros.errors import SemlaError
from semla_ros.resources import PACKAGE, shared

PROFILE = "config/fastdds_large_images.xml"


class NetworkError(SemlaError):
    """The processes cannot get a ROS network of their own."""


def local_network() -> dict[str, str]:
    """Environment variables for processes that communicate on this machine only, in an unused ROS domain.

    Raises:
        NetworkError: The Fast DDS profile is missing, or all ROS domains are in use.
    """
    profile = next((str(path) for path in shared(PROFILE) if path.is_file()), None)
    if profile is None:
        raise NetworkError("no Fast DDS profile", where=PROFILE)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH")))),
        "ROS_DOMAIN_ID": str(free_domain()),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOCALHOST_ONLY": "1",  # its name before ROS 2 Iron
        "FASTDDS_DEFAULT_PROFILES_FILE": profile,
        "FASTRTPS_DEFAULT_PROFILES_FILE": profile,  # its name before ROS 2 Kilted
    }


def free_domain() -> int:
    """A ROS domain (1 to 100) that is not in use on this machine.

    Raises:
        NetworkError: All are in use.
    """
    for domain in random.sample(range(1, 101), 100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", 7410 + 250 * domain))  # port of the domain's first participant
            except OSError:
                continue
            return domain
    raise NetworkError("all ROS domains of this machine are in use")
