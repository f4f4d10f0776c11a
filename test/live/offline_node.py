"""The real node, in which Python may reach this machine only; what it tries elsewhere is printed and refused."""

import ipaddress
import sys

from semla_ros.node.main import main

NAMES = {"", "localhost", None}


def refuse(event, arguments):
    if event == "urllib.Request":
        raise forbidden(event, arguments[0])
    if event == "socket.getaddrinfo" and arguments[0] not in NAMES and not is_local(arguments[0]):
        raise forbidden(event, arguments[0])
    if (
        event in ("socket.connect", "socket.sendto")
        and isinstance(arguments[1], tuple)
        and not is_local(arguments[1][0])
    ):
        raise forbidden(event, arguments[1])


def is_local(host):
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        return host in NAMES


def forbidden(event, target):
    print(f"FORBIDDEN {event} {target}", flush=True)
    return PermissionError(f"{event} {target}")


if __name__ == "__main__":
    sys.addaudithook(refuse)
    sys.exit(main())
