"""Who may see and steer: loopback alone, or a token; and no page of another origin."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from urllib.parse import SplitResult, urlsplit

from aiohttp import web

from semla_ros.view.source import ViewError

LEAST = 16  # characters of a token that a person chooses
TOKEN = re.compile(rf"[A-Za-z0-9._~-]{{{LEAST},}}")
REMEDY = "Leave it out, and one is made."
FOXGLOVE = ("https://app.foxglove.dev",)  # the origin of Foxglove in a browser
REFUSAL = """<!doctype html><meta charset="utf-8"><title>semla view</title><h1>{title}</h1><p>{text}</p>"""


class Access:
    """Checks every request, also those that open a WebSocket.

    Without a token a request must name this machine in its ``Host``, so that a foreign name that resolves to this
    machine (DNS rebinding) gets nothing. A WebSocket that a page opens must come from our own page, because browsers
    let any page connect anywhere.

    Args:
        host: Address to listen on.
        token: Secret that every request must carry, as ``?token=...``, as a cookie or as ``Authorization: Bearer``;
            None asks for none on loopback and makes one elsewhere.

    Raises:
        ViewError: The token is too short, or has characters that an address would have to escape.
    """

    def __init__(self, host: str, token: str | None = None) -> None:
        if token is not None and not TOKEN.fullmatch(token):
            expected = f"at least {LEAST} letters, digits and characters of -._~, which an address can hold as they are"
            raise ViewError("not a token", got=f"{len(token)} characters", expected=expected, hint=REMEDY)
        self.host = host
        self.token = token or ("" if is_loopback(host) else secrets.token_urlsafe(24))

    def check(self, request: web.Request) -> None:
        """Lets a request pass.

        Raises:
            web.HTTPException: It may not; with the reason and the remedy for people.
        """
        if self.token and not self._has_token(request):
            raise _refused(
                web.HTTPUnauthorized, "This page needs its token",
                "Open the whole address that 'semla view' has printed, with ?token= at its end.",
            )  # fmt: skip
        if not self.token and not is_loopback(_split(f"//{request.host}").hostname or ""):
            raise _refused(
                web.HTTPForbidden, "This name is not served",
                "Open the address that 'semla view' has printed: http://127.0.0.1 or http://localhost.",
            )  # fmt: skip

    def check_origin(self, request: web.Request, *, foxglove: bool = False) -> None:
        """Lets a WebSocket pass that comes from our own page or from a program that is no browser.

        Args:
            request: The request that opens the WebSocket.
            foxglove: Whether Foxglove's page may connect, too. One that has the token in its address may always.

        Raises:
            web.HTTPException: It comes from a page of another origin.
        """
        origin = request.headers.get("Origin")
        if origin is None or _split(origin).netloc == request.host:
            return
        if foxglove and (origin in FOXGLOVE or (self.token and self._matches(request.query.get("token")))):
            return
        raise _refused(web.HTTPForbidden, "Connection refused", "It comes from a page of another origin.")

    def remember(self, request: web.Request, response: web.StreamResponse) -> None:
        """Gives a browser the token as a cookie, so that its address bar need not show it any longer."""
        if self.token and self._matches(request.query.get("token")):
            response.set_cookie(_cookie(request), self.token, httponly=True, samesite="Strict")

    def _has_token(self, request: web.Request) -> bool:
        kind, _, bearer = request.headers.get("Authorization", "").partition(" ")
        offered = (
            request.query.get("token"),
            request.cookies.get(_cookie(request)),
            bearer if kind == "Bearer" else None,
        )
        matching = [self._matches(each) for each in offered]  # all of them: the time does not tell which one matched
        return any(matching)

    def _matches(self, offered: str | None) -> bool:
        """Compares in a time that does not depend on how many characters are right."""
        return hmac.compare_digest((offered or "").encode(errors="replace"), self.token.encode())


def is_loopback(host: str) -> bool:
    """Whether an address or name is that of this machine for itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _split(address: str) -> SplitResult:
    """The parts of an address; all of them empty if it is malformed."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _cookie(request: web.Request) -> str:
    """Browsers share cookies between the ports of a host, so the port is part of the name."""
    try:
        return f"semla_view_{request.url.port}"
    except ValueError:  # the request names a port that does not exist
        return "semla_view"


def _refused(kind: type[web.HTTPException], title: str, text: str) -> web.HTTPException:
    return kind(text=REFUSAL.format(title=title, text=text), content_type="text/html")
