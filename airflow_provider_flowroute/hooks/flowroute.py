"""Create a :class:`~airflow_provider_flowroute.api.client.FlowrouteClient` from an Airflow connection."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_flowroute import CONNECTION_FIELDS, CONNECTION_FORM
from airflow_provider_flowroute.api.client import DEFAULT_BASE_URL, PAGE_SIZE, FlowrouteClient
from airflow_provider_flowroute.api.presigned_urls import is_loopback
from airflow_provider_flowroute.exceptions import FlowrouteConnectionConfigError, FlowrouteError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_flowroute.cdr.export import CdrExport, ExportStatus

#: Characters. A shorter secret could be guessed.
MIN_SECRET_LENGTH = 32


class FlowrouteHook(BaseHook):
    """Connect to a Flowroute account.

    In the Airflow connection, login is the Access Key, password is the Secret Key, and host is the API URL (empty
    for Flowroute's own). The extra fields are ``connect_timeout`` and ``read_timeout`` (seconds), ``retries``,
    ``proxies``, ``verify`` and ``download_hosts``; see :data:`airflow_provider_flowroute.CONNECTION_FIELDS`.

    :param flowroute_conn_id: ID of the Airflow connection.
    """

    conn_name_attr = "flowroute_conn_id"
    default_conn_name = "flowroute_default"
    conn_type = "flowroute"
    hook_name = "Flowroute"

    def __init__(self, flowroute_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flowroute_conn_id = flowroute_conn_id
        self._client: FlowrouteClient | None = None

    def get_conn(self) -> FlowrouteClient:
        """Return the client for the connection. The hook creates it once.

        :raises FlowrouteConnectionConfigError: if a field of the connection is missing or invalid.
        """
        if self._client is None:
            connection = self.get_connection(self.flowroute_conn_id)
            self._client = self._client_for(connection, connection.extra_dejson)
        return self._client

    def create_cdr_export(
        self, filter_parameters: Mapping[str, Any], callback_url: str | None = None
    ) -> CdrExport:
        """Create a CDR export.

        An export cannot be cancelled or deleted. This method sends the request once, and does not search for the
        export if the reply is lost; ``CreateCdrExportOperator`` does.

        :param filter_parameters: the window, as ``start_call_start_time`` and ``start_call_end_time`` in the form
            ``YYYY-MM-DD HH:MM:SS`` (UTC), and Flowroute's filters by name. They are sent unchanged;
            :func:`~airflow_provider_flowroute.cdr.filters.build_filter_parameters` formats them.
        :param callback_url: URL to which Flowroute POSTs a callback when the export changes.
        :return: the new export, usually with the status ``processing``.
        :raises FlowrouteConnectionConfigError: if a field of the connection is missing or invalid.
        :raises FlowrouteError: if the request fails; ``request_may_have_arrived`` is True if the export may exist.
        """
        return self.get_conn().create_cdr_export(filter_parameters, callback_url)

    def get_cdr_export(self, export_id: str) -> CdrExport:
        """Return an export in its current state.

        :param export_id: ID of the export.
        :return: the export. Its ``download_url`` is a secret: do not log it and do not push it to XCom.
        :raises FlowrouteConnectionConfigError: if a field of the connection is missing or invalid.
        :raises FlowrouteNotFoundError: if the account has no export with this ID.
        :raises FlowrouteError: if the request fails after the connection's ``retries``.
        """
        return self.get_conn().get_cdr_export(export_id)

    def list_cdr_exports(
        self, status: ExportStatus | str | None = None, page_size: int = PAGE_SIZE
    ) -> Iterator[CdrExport]:
        """List the exports of the account, newest first. Each page is requested when the iteration reaches it.

        :param status: return only exports with this status: ``processing``, ``completed`` or ``failed``.
        :param page_size: number of exports per request, at most 200.
        :return: an iterator over the exports.
        :raises FlowrouteConnectionConfigError: if a field of the connection is missing or invalid.
        :raises FlowrouteError: if a request fails after the connection's ``retries``.
        """
        return self.get_conn().list_cdr_exports(status, page_size)

    def close(self) -> None:
        """Close the client's HTTP sessions. The next :meth:`get_conn` creates a new client."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def aget_conn(self) -> FlowrouteClient:
        """Return the client as :meth:`get_conn` does, without blocking the event loop.

        :raises FlowrouteConnectionConfigError: if a field of the connection is missing or invalid.
        """
        if self._client is None:
            self._client = FlowrouteClient(**await self.aget_client_options())
        return self._client

    async def aget_client_options(self) -> dict[str, Any]:
        """Return the client's parameters for the connection, without blocking the event loop.

        :raises FlowrouteConnectionConfigError: if a field of the connection is missing or invalid.
        """
        from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

        connection = await get_async_connection(self.flowroute_conn_id)
        return self._client_options(connection, await get_async_extra_dejson(connection))

    def get_callback_secret(self) -> str | None:
        """Return the secret of the callback URLs, or None if the connection receives no callbacks.

        :raises FlowrouteConnectionConfigError: if the secret is too short.
        """
        return self._callback_secret(self.get_connection(self.flowroute_conn_id).extra_dejson)

    async def aget_callback_secret(self) -> str | None:
        """Return the secret as :meth:`get_callback_secret` does, without blocking the event loop.

        :raises FlowrouteConnectionConfigError: if the secret is too short.
        """
        from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

        return self._callback_secret(
            await get_async_extra_dejson(await get_async_connection(self.flowroute_conn_id))
        )

    def _callback_secret(self, extra: Mapping[str, Any]) -> str | None:
        secret = extra.get("callback_secret") or extra.get(f"extra__{self.conn_type}__callback_secret")
        if secret is not None and (not isinstance(secret, str) or len(secret) < MIN_SECRET_LENGTH):
            raise FlowrouteConnectionConfigError(
                f"Connection {self.flowroute_conn_id!r} has an invalid callback_secret.\n"
                f"It has fewer than {MIN_SECRET_LENGTH} characters, or is not text.\n"
                f"Set it to random text, for example the output of: openssl rand -hex 32"
            )
        return secret or None

    def _client_for(
        self, connection: Connection, extra: Mapping[str, Any], **overrides: Any
    ) -> FlowrouteClient:
        return FlowrouteClient(**self._client_options(connection, extra, **overrides))

    def _client_options(
        self, connection: Connection, extra: Mapping[str, Any], **overrides: Any
    ) -> dict[str, Any]:
        name = overrides.pop("name", self.flowroute_conn_id)
        if not connection.login or not connection.password:
            missing = "Access Key (login)" if not connection.login else "Secret Key (password)"
            raise FlowrouteConnectionConfigError(
                f"Connection {name!r} has no {missing}.\n"
                f"The Flowroute API requires an access key and a secret key.\n"
                f"Enter it in the connection."
            )
        return {
            "access_key": connection.login,
            "secret_key": connection.password,
            "base_url": self._base_url(connection),
            "name": name,
            **self._read_extra(extra),
            **overrides,
        }

    def _base_url(self, connection: Connection) -> str:
        """Build the API URL from host, port and schema; the form, a URI and JSON fill these in differently."""
        host = (connection.host or "").strip()
        if not host:
            return DEFAULT_BASE_URL
        if "://" not in host:
            if host.count(":") > 1 and not host.startswith("["):  # IPv6: a URI loses its brackets
                host = f"[{host}]"
            host = f"{connection.schema if connection.schema in ('http', 'https') else 'https'}://{host}"
        try:
            url = urlsplit(host)
            port = url.port or connection.port or None
        except ValueError:
            raise self._config_error("host", connection.host, f"a URL such as {DEFAULT_BASE_URL}") from None
        if (
            url.scheme not in ("http", "https")
            or not url.hostname
            or url.username
            or url.query
            or url.fragment
        ):
            raise self._config_error(
                "host", connection.host, f"a scheme and a host only, such as {DEFAULT_BASE_URL}"
            )
        if url.scheme == "http" and not is_loopback(url.hostname):
            raise self._config_error(
                "host", connection.host, "an https URL; over http, the keys would be sent unencrypted"
            )
        hostname = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
        path = url.path.rstrip("/").removesuffix("/v2")
        return f"{url.scheme}://{hostname}{f':{port}' if port else ''}{path}"

    def _read_extra(self, extra: Mapping[str, Any]) -> dict[str, Any]:
        """Parse the client's options from the extra, where Airflow's forms leave nulls, text and prefixes."""
        prefix = f"extra__{self.conn_type}__"
        given = {name.removeprefix(prefix): value for name, value in extra.items() if value not in (None, "")}
        unknown = sorted(given.keys() - CONNECTION_FIELDS.keys())
        if unknown:
            self.log.warning(
                "Connection %r has unknown extra fields: %s. Known fields: %s.",
                self.flowroute_conn_id,
                ", ".join(unknown),
                ", ".join(CONNECTION_FIELDS),
            )
        options = {}
        for name, (parse, expected) in _EXTRA_PARSERS.items():
            if name not in given:
                continue
            try:
                options[name] = parse(given[name])
            except (ValueError, TypeError, AttributeError, OverflowError, OSError):
                raise self._config_error(f"extra field {name!r}", given[name], expected) from None
        return options

    def _config_error(self, field: str, value: object, expected: str) -> FlowrouteConnectionConfigError:
        shown = re.sub(r"""(['"]).*@""", r"\1***@", repr(value))  # a URL may hold a user and a password
        return FlowrouteConnectionConfigError(
            f"Connection {self.flowroute_conn_id!r} has an invalid {field}.\n"
            f"Its value is {shown}.\n"
            f"Set it to {expected}."
        )

    def test_connection(self) -> tuple[bool, str]:
        """Test the connection with one authenticated read, without retries.

        :return: whether the keys are valid, and a message for the user.
        """
        try:
            connection = self.get_connection(self.flowroute_conn_id)
            # The form tests the connection under a random ID, which means nothing to the user.
            with self._client_for(
                connection, connection.extra_dejson, name="under test", retries=0
            ) as client:
                next(client.list_cdr_exports(page_size=1), None)
        except FlowrouteError as e:
            return False, str(e)
        return True, f"Connected to {client.base_url}. The keys are valid."

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the form's standard fields for Airflow before 3.2; later versions read the provider info."""
        return {name.replace("-", "_"): value for name, value in CONNECTION_FORM.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's extra fields for Airflow before 3.2; later versions read the provider info."""
        from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
        from wtforms import IntegerField, PasswordField, StringField
        from wtforms.validators import Optional

        def field(definition: Mapping[str, Any]) -> Any:
            kind, widget = StringField, BS3TextFieldWidget
            if "integer" in definition["schema"]["type"]:
                kind = IntegerField
            elif definition["schema"].get("format") == "password":
                kind, widget = PasswordField, BS3PasswordFieldWidget
            return kind(
                definition["label"],
                validators=[Optional()],
                description=definition["description"],
                widget=widget(),
            )

        return {name: field(definition) for name, definition in CONNECTION_FIELDS.items()}


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not 0 < seconds < float("inf") or isinstance(value, bool):
        raise ValueError(value)
    return seconds


def _count(value: Any) -> int:
    count = int(value)
    if count < 0 or count != float(value) or isinstance(value, bool):
        raise ValueError(value)
    return count


def _proxies(value: Any) -> dict[str, str]:
    if isinstance(value, str):
        value = json.loads(value) if value.lstrip().startswith("{") else {"http": value, "https": value}
    if not all(isinstance(text, str) and text for pair in value.items() for text in pair):
        raise ValueError(value)
    return dict(value)


def _verify(value: Any) -> bool | str:
    text = str(value).strip().lower()
    if text in ("true", "t", "yes", "y", "on", "1"):
        return True
    if text in ("false", "f", "no", "n", "off", "0"):
        return False
    if not Path(value).exists():
        raise ValueError(value)
    return str(value)


def _hosts(value: Any) -> tuple[str, ...]:
    given = value.split(",") if isinstance(value, str) else list(value)
    hosts = tuple(host.strip().lower() for host in given if host.strip())
    if not all(re.fullmatch(r"[a-z0-9._-]+", host) for host in hosts):
        raise ValueError(value)
    return hosts


_EXTRA_PARSERS: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "connect_timeout": (_seconds, "a number of seconds above 0"),
    "read_timeout": (_seconds, "a number of seconds above 0"),
    "retries": (_count, "an integer, 0 or more"),
    "proxies": (_proxies, 'a URL or an object such as {"https": "http://proxy:3128"}'),
    "verify": (_verify, "true, false, or the path of a CA bundle that exists on the worker"),
    "download_hosts": (_hosts, "host names only, as a list or comma-separated text"),
}
