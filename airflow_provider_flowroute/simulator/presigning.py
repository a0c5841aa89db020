"""Presigned links: who holds one may fetch the file, for as long as it lasts."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

_STAMP = "%Y%m%dT%H%M%SZ"
_SIGNATURE = "X-Amz-Signature"


class LinkSigner:
    """Makes links and tells whether one is good; safe to use from any thread.

    :param seed: what the key is made from, so that links outlive a restart.
    :param now: the account's clock.
    """

    def __init__(self, seed: int, now: Callable[[], datetime]) -> None:
        self._now = now
        self._key = hashlib.sha256(f"flowroute-simulator/{seed}".encode()).digest()
        self._revoked: set[str] = set()
        self._lock = threading.Lock()

    def sign(self, origin: str, key: str, expires_at: datetime) -> str:
        """Make a link. No two are the same.

        :param origin: the storage's address.
        :param key: where the object lies.
        :param expires_at: when the link stops working, UTC.
        """
        now = self._now()
        parameters = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"ASIASIMULATED0000000/{now:%Y%m%d}/us-west-2/s3/aws4_request",
            "X-Amz-Date": now.strftime(_STAMP),
            "X-Amz-Expires": str(max(1, math.ceil((expires_at - now).total_seconds()))),
            "X-Amz-SignedHeaders": "host",
            "X-Amz-Security-Token": secrets.token_urlsafe(48),
        }
        parameters[_SIGNATURE] = self._signature(key, parameters)
        return f"{origin}/{quote(key)}?{urlencode(parameters)}"

    def is_signed(self, key: str, query: Mapping[str, str]) -> bool:
        """Tell whether a link bears the right signature.

        :param key: the object it names.
        :param query: its parameters.
        """
        parameters = {name: value for name, value in query.items() if name != _SIGNATURE}
        return hmac.compare_digest(
            self._signature(key, parameters).encode(), query.get(_SIGNATURE, "").encode()
        )

    def is_expired(self, query: Mapping[str, str], expires_at: datetime | None) -> bool:
        """Tell whether a signed link has stopped working.

        :param query: its parameters.
        :param expires_at: when the export's links stop working, UTC: the link itself only says it to the second.
        """
        now = self._now()
        if expires_at is not None and now >= expires_at:
            return True
        with self._lock:
            if query[_SIGNATURE] in self._revoked:
                return True
        made = datetime.strptime(query["X-Amz-Date"], _STAMP).replace(tzinfo=UTC)
        return now > made + timedelta(seconds=int(query["X-Amz-Expires"]))

    def revoke(self, query: Mapping[str, str]) -> None:
        """Make one link stop working at once.

        :param query: its parameters.
        """
        with self._lock:
            self._revoked.add(query[_SIGNATURE])

    def _signature(self, key: str, parameters: Mapping[str, str]) -> str:
        text = f"GET\n/{key}\n{urlencode(sorted(parameters.items()))}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
