"""Which addresses the processes of a test listen on."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path

LISTENING = "0A"  # state in /proc/net/tcp


def descendants(process: int) -> list[int]:
    """A process and all that it has started, directly and indirectly."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it has ended meanwhile
    found = [process]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def listening_addresses(process: int) -> set[str]:
    """Addresses with a listening TCP socket of a process or its descendants."""
    inodes = {inode for each in descendants(process) for inode in sockets(each)}
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and fields[9] in inodes:
                found.add(socket.inet_ntop(family, in_network_order(fields[1].partition(":")[0])))
    return found


def sockets(process: int) -> set[str]:
    """Inodes of the sockets of a process."""
    try:
        targets = [os.readlink(file) for file in Path(f"/proc/{process}/fd").iterdir()]
    except OSError:
        return set()
    return {target[8:-1] for target in targets if target.startswith("socket:[")}


def in_network_order(text: str) -> bytes:
    """The bytes of an address in /proc/net/tcp, whose 32-bit words are in the order of the machine."""
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    return b"".join(words)


def is_loopback(address: str) -> bool:
    """Whether an address is reached from this machine alone."""
    parsed = ipaddress.ip_address(address)
    inner = getattr(parsed, "ipv4_mapped", None)
    return (inner or parsed).is_loopback
