"""Loopback ports: finding a free one, and finding who listens."""

import ipaddress
import os
import random
import socket
import sys
from pathlib import Path

LOOPBACK = "127.0.0.1"
_LISTEN = "0A"  # Linux include/net/tcp_states.h
_given: set[int] = set()


def free_port() -> int:
    """A port that nothing uses on 127.0.0.1, outside the range Linux takes client ports from.

    A client that keeps trying a dead server on a port of that range can be given the same port for
    its own end, and then it is connected to itself. None is given twice: the first one to ask may
    not listen yet.
    """
    # No worker of pytest-xdist looks where another one does: that could choose the same at once.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = range(20_000 + worker % workers, 32_768, workers)
    for port in random.sample(ports, min(len(ports), 1_000)):
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise OSError("no free port between 20000 and 32767")


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now.

    Not for a port on which a server is about to listen: the two would be in each other's way.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections that a former server closed a moment ago are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    """Whether somebody accepts connections on `port`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def can_watch() -> bool:
    """Whether `listening` works here: it reads Linux's /proc."""
    return Path("/proc/self/net/tcp").exists()


def listening(pid: int) -> frozenset[tuple[str, int]]:
    """The (address, port) pairs on which process `pid` accepts TCP connections."""
    inodes = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(fd.readlink())
        except FileNotFoundError:  # closed since the listing
            continue
        if target.startswith("socket:["):
            inodes.add(target[len("socket:[") : -1])
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path(f"/proc/{pid}/net/{table}")
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            _, local, _, state, *rest = line.split()
            if state == _LISTEN and rest[5] in inodes:
                address, port = local.split(":")
                found.add((_address(address), int(port, 16)))
    return frozenset(found)


def _address(text: str) -> str:
    # proc(5): 32-bit words in hexadecimal, each in the machine's byte order.
    words = [bytes.fromhex(text[at : at + 8]) for at in range(0, len(text), 8)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    address = ipaddress.ip_address(packed)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)
