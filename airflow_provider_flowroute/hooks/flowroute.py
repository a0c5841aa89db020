"""An Airflow connection becomes a :class:`~airflow_provider_flowroute.api.client.FlowrouteClient`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_flowroute import CONNECTION_FIELDS, CONNECTION_FORM
from airflow_provider_flowroute.api.client import DEFAULT_BASE_URL, FlowrouteClient
from airflow_provider_flowroute.api.presigned_urls import is_loopback
from airflow_provider_flowroute.exceptions import FlowrouteConnectionConfigError, FlowrouteError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection


class FlowrouteHook(BaseHook):
    """Connects to a Flowroute account.

    The connection: login = Access Key, password = Secret Key, host = the API's URL (empty: Flowroute's own).
    Its extra takes ``connect_timeout`` and ``read_timeout`` (seconds), ``retries``, ``proxies``, ``verify`` and
    ``download_hosts``; see :data:`airflow_provider_flowroute.CONNECTION_FIELDS`.

    :param flowroute_conn_id: the id of the Airflow connection.
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
        """The client for the connection, made once per hook.

        :raises FlowrouteConnectionConfigError: naming the connection and the field to mend.
        """
        if self._client is None:
            connection = self.get_connection(self.flowroute_conn_id)
            self._client = self._client_for(connection, connection.extra_dejson)
        return self._client

    async def aget_conn(self) -> FlowrouteClient:
        """As :meth:`get_conn`, for an event loop: fetching a connection may be a call to the supervisor."""
        from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

        if self._client is None:
            connection = await get_async_connection(self.flowroute_conn_id)
            self._client = self._client_for(connection, await get_async_extra_dejson(connection))
        return self._client

    def _client_for(
        self, connection: Connection, extra: Mapping[str, Any], **overrides: Any
    ) -> FlowrouteClient:
        name = overrides.pop("name", self.flowroute_conn_id)
        if not connection.login or not connection.password:
            missing = "Access Key (login)" if not connection.login else "Secret Key (password)"
            raise FlowrouteConnectionConfigError(f"Connection {name!r} has no {missing}: fill it in.")
        options = {**self._read_extra(extra), **overrides}
        return FlowrouteClient(
            connection.login, connection.password, self._base_url(connection), name=name, **options
        )

    def _base_url(self, connection: Connection) -> str:
        """The API's URL from host, port and schema, which the form, a URI and JSON fill in differently."""
        host = (connection.host or "").strip()
        if not host:
            return DEFAULT_BASE_URL
        if "://" not in host:
            if host.count(":") > 1 and not host.startswith("["):  # IPv6, as a URI leaves it
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
                "host", connection.host, f"scheme and host alone, such as {DEFAULT_BASE_URL}"
            )
        if url.scheme == "http" and not is_loopback(url.hostname):
            raise self._config_error(
                "host", connection.host, "https: over http the keys would go out in clear"
            )
        hostname = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
        path = url.path.rstrip("/").removesuffix("/v2")
        return f"{url.scheme}://{hostname}{f':{port}' if port else ''}{path}"

    def _read_extra(self, extra: Mapping[str, Any]) -> dict[str, Any]:
        """The client's options from the extra, in which forms of several Airflows leave nulls, text and prefixes."""
        prefix = f"extra__{self.conn_type}__"
        given = {name.removeprefix(prefix): value for name, value in extra.items() if value not in (None, "")}
        unknown = sorted(given.keys() - CONNECTION_FIELDS.keys())
        if unknown:
            self.log.warning(
                "Connection %r has extras that mean nothing here: %s. Known are %s.",
                self.flowroute_conn_id,
                ", ".join(unknown),
                ", ".join(CONNECTION_FIELDS),
            )
        options = {}
        for name, (read, expected) in _EXTRA_PARSERS.items():
            if name not in given:
                continue
            try:
                options[name] = read(given[name])
            except (ValueError, TypeError, AttributeError, OverflowError, OSError):
                raise self._config_error(f"extra {name!r}", given[name], expected) from None
        return options

    def _config_error(self, field: str, value: object, expected: str) -> FlowrouteConnectionConfigError:
        shown = re.sub(r"""(['"]).*@""", r"\1***@", repr(value))  # a URL's user and password
        return FlowrouteConnectionConfigError(
            f"Connection {self.flowroute_conn_id!r}: its {field} is {shown}; expected {expected}."
        )

    def test_connection(self) -> tuple[bool, str]:
        """What the Test button does: one cheap authenticated read, without the usual patience."""
        try:
            connection = self.get_connection(self.flowroute_conn_id)
            # The form's Test gives the connection a made-up id, which would tell the user nothing.
            client = self._client_for(connection, connection.extra_dejson, name="under test", retries=0)
            next(client.list_cdr_exports(page_size=1), None)
        except FlowrouteError as e:
            return False, str(e)
        return True, f"Connected to {client.base_url}: the keys are good."

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The form's standard fields, for Airflow before 3.2; later ones read the provider info."""
        return {name.replace("-", "_"): value for name, value in CONNECTION_FORM.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The form's extra fields, for Airflow before 3.2; later ones read the provider info."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import IntegerField, StringField
        from wtforms.validators import Optional

        def field(definition: Mapping[str, Any]) -> Any:
            kind = IntegerField if "integer" in definition["schema"]["type"] else StringField
            return kind(
                definition["label"],
                validators=[Optional()],
                description=definition["description"],
                widget=BS3TextFieldWidget(),
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
    "retries": (_count, "a whole number, 0 or more"),
    "proxies": (_proxies, 'a URL, or an object such as {"https": "http://proxy:3128"}'),
    "verify": (_verify, "true, false, or the path of a CA bundle that exists on the worker"),
    "download_hosts": (_hosts, "host names alone, as a list or separated by commas"),
}
