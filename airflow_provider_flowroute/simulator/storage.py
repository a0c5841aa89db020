"""The port of the storage: it serves a file to any client with a valid link, as S3 does."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Mapping
from email.utils import format_datetime
from http import HTTPStatus
from xml.sax.saxutils import escape

from aiohttp import web

from airflow_provider_flowroute.simulator.exports import SimulatedExport
from airflow_provider_flowroute.simulator.faults import FILE_FAULTS, Fault
from airflow_provider_flowroute.simulator.middleware import build_middleware, close_connection, current_record
from airflow_provider_flowroute.simulator.state import AccountState

_BUCKET = "/flowroute-cdrexports/"
_CHUNK = 64 * 1024
_CODES = {
    400: "InvalidArgument",
    403: "AccessDenied",
    404: "NoSuchKey",
    405: "MethodNotAllowed",
    416: "InvalidRange",
    429: "TooManyRequests",
    503: "SlowDown",
}


class Storage:
    """The storage of the account's files."""

    def __init__(self, state: AccountState) -> None:
        self._state = state

    def application(self) -> web.Application:
        """Build the web application."""
        app = web.Application(middlewares=[build_middleware(self._state, _classify, _error_response)])
        app.router.add_get("/{key:.+}", self._get, allow_head=False)
        return app

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if "Authorization" in request.headers:
            raise web.HTTPBadRequest(reason="A presigned link must not have an Authorization header.")
        key = request.match_info["key"]
        export = self._state.exports.find_object(key)
        if export is None:
            raise web.HTTPNotFound(reason="The key does not exist.")
        if not self._state.presigner.is_signed(key, request.query):
            raise web.HTTPForbidden(reason="The signature does not match this request.")
        if self._state.faults.take("download", ["expired_link"]):
            self._state.presigner.revoke(request.query)
        if self._state.presigner.is_expired(request.query, export.expires_at):
            raise web.HTTPForbidden(reason="Request has expired")
        file = await asyncio.to_thread(self._state.exports.file, export.id)
        self._state.exports.count_download(export.id)
        return await _send(request, export, file.content, self._state.faults.take("download", FILE_FAULTS))


async def _send(
    request: web.Request, export: SimulatedExport, content: bytes, fault: Fault | None
) -> web.StreamResponse:
    """Send an object or the requested range of it, with the fault if there is one."""
    name, options = (fault.name, fault.options) if fault else ("", {})
    if name == "truncated_gzip":
        content = content[: int(len(content) * options["fraction"])]
    elif name == "corrupt_gzip":
        content = content[:-8] + bytes([content[-8] ^ 0xFF]) + content[-7:]
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Type": "application/x-gzip",
        "ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"',
        "Last-Modified": format_datetime(
            (export.completed_at or export.requested_at).replace(microsecond=0), usegmt=True
        ),
    }
    status = 200
    part = _range(request, headers, len(content))
    if part is not None:
        if not part:
            raise web.HTTPRequestRangeNotSatisfiable(
                reason="The object does not have the requested bytes.",
                headers={"Content-Range": f"bytes */{len(content)}"},
            )
        status = 206
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(content)}"
        content = content[part.start : part.stop]
    current_record.get().status = status
    if name == "no_content_length":
        return await _send_without_length(request, status, headers, content, options["fraction"])
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = len(content)
    await response.prepare(request)
    end = len(content)
    if name == "cut_download":
        after, fraction = options["after_bytes"], options["fraction"]
        end = min(end, int(end * fraction) if after is None else after)
    for begin in range(0, end, _CHUNK):
        await response.write(content[begin : min(begin + _CHUNK, end)])
    if name == "cut_download":
        close_connection(request)
    else:
        await response.write_eof()
    return response


async def _send_without_length(
    request: web.Request, status: int, headers: Mapping[str, str], content: bytes, fraction: float | None
) -> web.StreamResponse:
    """Send an object without its length. Bypass the web server, which would send chunks."""
    head = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        *(f"{name}: {value}" for name, value in headers.items()),
        "Connection: close",
    ]
    if request.transport:
        end = len(content) if fraction is None else int(len(content) * fraction)
        request.transport.write("\r\n".join([*head, "", ""]).encode() + content[:end])
        close_connection(request)
    return web.Response(status=status)


def _range(request: web.Request, headers: Mapping[str, str], size: int) -> range | None:
    """Return the requested bytes: None for all bytes, an empty range if the object does not have them."""
    same = request.headers.get("If-Range", headers["ETag"]) in (headers["ETag"], headers["Last-Modified"])
    wanted = request.headers.get("Range")
    if wanted is None or not same:
        return None
    try:
        # aiohttp reads "the last 0 bytes" as "all bytes".
        return range(0) if wanted == "bytes=-0" else range(size)[request.http_range]
    except ValueError:  # an invalid range has no effect
        return None


def _classify(request: web.Request) -> str:
    return "download" if request.method == "GET" and request.path.startswith(_BUCKET) else "other"


def _error_response(status: int, detail: str, headers: Mapping[str, str]) -> web.Response:
    code = _CODES.get(status, "InternalError")
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{escape(detail)}</Message><RequestId>{uuid.uuid4().hex[:16].upper()}"
        "</RequestId></Error>"
    )
    return web.Response(status=status, text=body, content_type="application/xml", headers=headers)
