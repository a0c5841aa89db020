"""Presigned links: a link gives access to a file until it expires."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

_DATE_FORMAT = "%Y%m%dT%H%M%SZ"
_SIGNATURE = "X-Amz-Signature"


class Presigner:
    """Sign download links and check them, by the account's clock.

    :param seed: determines the signing key, so that links stay valid after a restart.
    """

    def __init__(self, seed: int, now: Callable[[], datetime]) -> None:
        self._now = now
        self._key = hashlib.sha256(f"flowroute-simulator/{seed}".encode()).digest()
        self._revoked: set[str] = set()

    def sign(self, origin: str, key: str, expires_at: datetime) -> str:
        """Sign a link. Each link is different."""
        now = self._now()
        parameters = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"ASIASIMULATED0000000/{now:%Y%m%d}/us-west-2/s3/aws4_request",
            "X-Amz-Date": now.strftime(_DATE_FORMAT),
            "X-Amz-Expires": str(max(1, math.ceil((expires_at - now).total_seconds()))),
            "X-Amz-SignedHeaders": "host",
            "X-Amz-Security-Token": secrets.token_urlsafe(48),
        }
        parameters[_SIGNATURE] = self._signature(key, parameters)
        return f"{origin}/{quote(key)}?{urlencode(parameters)}"

    def is_signed(self, key: str, query: Mapping[str, str]) -> bool:
        """Return whether a link has a valid signature."""
        parameters = {name: value for name, value in query.items() if name != _SIGNATURE}
        return hmac.compare_digest(
            self._signature(key, parameters).encode(), query.get(_SIGNATURE, "").encode()
        )

    def is_expired(self, query: Mapping[str, str], expires_at: datetime | None) -> bool:
        """Return whether a signed link has expired.

        :param expires_at: when the export's links expire, UTC. The link itself has only whole seconds.
        """
        now = self._now()
        if query[_SIGNATURE] in self._revoked or (expires_at is not None and now >= expires_at):
            return True
        signed_at = datetime.strptime(query["X-Amz-Date"], _DATE_FORMAT).replace(tzinfo=UTC)
        return now > signed_at + timedelta(seconds=int(query["X-Amz-Expires"]))

    def revoke(self, query: Mapping[str, str]) -> None:
        """Let a link expire immediately."""
        self._revoked.add(query[_SIGNATURE])

    def _signature(self, key: str, parameters: Mapping[str, str]) -> str:
        text = f"GET\n/{key}\n{urlencode(sorted(parameters.items()))}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
