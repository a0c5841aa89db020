"""The storage's port: it gives a file to whoever holds a link, as S3 does."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping
from email.utils import format_datetime
from http import HTTPStatus
from xml.sax.saxutils import escape

from aiohttp import web

from airflow_provider_flowroute.simulator.account import Account
from airflow_provider_flowroute.simulator.exports import SimulatedExport
from airflow_provider_flowroute.simulator.faults import FILE_FAULTS, Fault, FaultQueue
from airflow_provider_flowroute.simulator.held_requests import HeldRequests
from airflow_provider_flowroute.simulator.middleware import current_record, gate, hang_up
from airflow_provider_flowroute.simulator.presigning import LinkSigner
from airflow_provider_flowroute.simulator.request_log import RequestLog
from airflow_provider_flowroute.simulator.result_file import etag_of

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
    """The storage the account's files lie in.

    :param account: the account.
    :param faults: the faults still to come.
    :param held: where requests are held.
    :param signer: knows which links are good.
    """

    def __init__(self, account: Account, faults: FaultQueue, held: HeldRequests, signer: LinkSigner) -> None:
        self._account = account
        self._faults = faults
        self._held = held
        self._signer = signer

    def application(self, log: RequestLog) -> web.Application:
        """Make the web application.

        :param log: where requests are recorded.
        """
        app = web.Application(middlewares=[gate(log, self._faults, self._held, _name_of, _refuse)])
        app.router.add_get("/{key:.+}", self._get, allow_head=False)
        return app

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if "Authorization" in request.headers:
            return _refuse(
                400, "A presigned link is authentication enough: send no Authorization header with it.", {}
            )
        key = request.match_info["key"]
        export = self._account.find_object(key)
        if export is None:
            return _refuse(404, "There is no object of this key.", {})
        if not self._signer.is_signed(key, request.query):
            return _refuse(403, "The signature does not fit this request.", {})
        if self._faults.take("download", ["expired_link"]):
            self._signer.revoke(request.query)
        if self._signer.is_expired(request.query, export.expires_at):
            return _refuse(403, "Request has expired", {})
        file = await asyncio.to_thread(self._account.file, export.id)
        self._account.count_download(export.id)
        return await _send(request, export, file.content, self._faults.take("download", FILE_FAULTS))


async def _send(
    request: web.Request, export: SimulatedExport, content: bytes, fault: Fault | None
) -> web.StreamResponse:
    """Send an object, or the part of it that is asked for; as a fault has it, if there is one."""
    name, options = (fault.name, fault.options) if fault else ("", {})
    if name == "truncated_gzip":
        content = content[: int(len(content) * options["fraction"])]
    elif name == "corrupt_gzip":
        content = content[:-8] + bytes([content[-8] ^ 0xFF]) + content[-7:]
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Type": "application/x-gzip",
        "ETag": etag_of(content),
        "Last-Modified": format_datetime(
            (export.completed_at or export.requested_at).replace(microsecond=0), usegmt=True
        ),
    }
    part = _range(request, headers, len(content))
    if part is not None and not part:
        return _refuse(416, "The object has no such bytes.", {"Content-Range": f"bytes */{len(content)}"})
    status = 200
    if part is not None:
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
        hang_up(request)
    else:
        await response.write_eof()
    return response


async def _send_without_length(
    request: web.Request, status: int, headers: Mapping[str, str], content: bytes, fraction: float | None
) -> web.StreamResponse:
    """Send an object whose end is the connection's: past the web server, which would chunk it."""
    head = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        *(f"{name}: {value}" for name, value in headers.items()),
        "Connection: close",
    ]
    if request.transport:
        end = len(content) if fraction is None else int(len(content) * fraction)
        request.transport.write("\r\n".join([*head, "", ""]).encode() + content[:end])
        hang_up(request)
    return web.Response(status=status)


def _range(request: web.Request, headers: Mapping[str, str], size: int) -> range | None:
    """Tell which bytes are asked for: None for all of them, an empty range for some that are not there."""
    asked = re.fullmatch(r"bytes=([0-9]*)-([0-9]*)", request.headers.get("Range", "").strip())
    if asked is None or asked.group(0) == "bytes=-":
        return None
    if request.headers.get("If-Range", headers["ETag"]) not in (headers["ETag"], headers["Last-Modified"]):
        return None
    first, last = asked.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)


def _name_of(request: web.Request) -> str:
    return "download" if request.method == "GET" and request.path.startswith(_BUCKET) else "other"


def _refuse(status: int, detail: str, headers: Mapping[str, str]) -> web.Response:
    code = _CODES.get(status, "InternalError")
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{escape(detail)}</Message><RequestId>{uuid.uuid4().hex[:16].upper()}"
        "</RequestId></Error>"
    )
    return web.Response(status=status, text=body, content_type="application/xml", headers=headers)
