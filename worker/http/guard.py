"""Who may ask for what: peers from elsewhere get the probes and the metrics, and no response is kept or framed.

A peer counts as local if its address is a loopback one and no proxy speaks for another. Without an address of the
peer, the address that the connection came in on decides. A browser of this machine that was led here by a name of
somebody else's (DNS rebinding) says that name in its Host header, and is refused what only local peers may see.
"""

import re
from ipaddress import IPv6Address, ip_address
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PUBLIC = frozenset({"/livez", "/startupz", "/readyz", "/metrics"})
"""The paths that any peer may ask for."""

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


_HOST = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::[0-9]{0,5})?", re.ASCII)


class Guard:
    """Wraps the application: refuses what a peer may not ask for, and adds the security headers that it has not set."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        why = None if scope["path"] in PUBLIC else _objection(scope)
        answer = self._app if why is None else JSONResponse({"error": why}, status_code=403)
        await answer(scope, receive, send_guarded)


def _objection(scope: Scope) -> str | None:
    if not _is_local(scope):
        return "peers from elsewhere may ask for the probes and for /metrics only"
    if not names_this_machine(Headers(scope=scope).get("host")):
        return "the Host header is no name of this machine: ask for localhost"
    return None


def _is_local(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    if "forwarded" in headers or "x-forwarded-for" in headers:
        return False
    return is_loopback(scope.get("client") or scope.get("server"))


def names_this_machine(host: str | None) -> bool:
    """Whether a Host header is localhost or a loopback address, with a port or without; no browser leaves it out."""
    if host is None:
        return True
    named = _HOST.fullmatch(host)
    name = "" if named is None else named["v6"] or named["name"]
    return name.lower() == "localhost" or is_loopback((name, 0))


def is_loopback(address: tuple[Any, Any] | None) -> bool:
    """Whether a socket's address is a loopback one; a path or nothing at all is not."""
    try:
        host = ip_address(address[0] if address else "")
    except ValueError:
        return False
    # A socket for both families shows an IPv4 peer as ::ffff:a.b.c.d.
    mapped = host.ipv4_mapped if isinstance(host, IPv6Address) else None
    return (mapped or host).is_loopback
