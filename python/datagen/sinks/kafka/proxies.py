"""Proxies of the environment: which one leads to a registry, if any."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["direct", "proxy_of"]

_lock = threading.Lock()


def proxy_of(url: str) -> tuple[str, str | None]:
    """The variable that sets a proxy for ``url``, and that proxy; None: there is none.

    No proxy leads to this machine's own addresses, nor to those that NO_PROXY names.
    """
    from urllib.request import getproxies

    parts = urlsplit(url)
    proxies = getproxies()
    for scheme in (parts.scheme, "all"):
        found = proxies.get(scheme)
        if found and not _is_direct(parts.hostname or "", parts.port, proxies):
            names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
            variable = next((name for name in names if os.environ.get(name)), "this system")
            return variable, found if "://" in found else f"http://{found}"
    return "", None


@contextmanager
def direct() -> Iterator[None]:
    """Has an HTTP client that is made meanwhile take no proxy of the environment.

    It looks at all of them, and fails at one that it cannot use, even where that does not apply.
    """
    name = "no_proxy"
    with _lock:
        before = os.environ.get(name)
        os.environ[name] = "*"
        try:
            yield
        finally:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before


def _is_direct(host: str, port: int | None, proxies: dict[str, str]) -> bool:
    from urllib.request import proxy_bypass

    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    if proxy_bypass(f"{host}:{port}" if port else host):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified:
        return True
    for one in proxies.get("no", "").split(","):
        try:
            if address in ip_network(one.strip().strip("[]"), strict=False):
                return True
        except ValueError:  # a name
            continue
    return False
