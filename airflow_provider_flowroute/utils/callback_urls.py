"""Sign and verify the callback URLs of this Airflow."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from airflow_provider_flowroute.exceptions import FlowrouteConnectionConfigError, FlowrouteValueError

#: Whether the plugin can receive callbacks. It lets a watcher poll by a value in the state store of the asset.
HAS_ASSET_STATE = AIRFLOW_V_3_3_PLUS
#: The path below Airflow's base URL where the plugin receives callbacks.
PREFIX = "/flowroute/callbacks"
_RUN_LENGTH = 16


def build_callback_url(base_url: str, conn_id: str, secret: str, run: Sequence[str | int | None]) -> str:
    """Return the callback URL of a task instance. All its tries have the same URL.

    :param base_url: Airflow's ``[api] base_url``.
    :param conn_id: ID of the Airflow connection.
    :param secret: the connection's ``callback_secret``.
    :param run: identifies the task instance, for example by its DAG, run, task and map index.
    """
    run_digest = hashlib.sha256(json.dumps(list(run)).encode()).hexdigest()[:_RUN_LENGTH]
    token = run_digest + _sign(conn_id, secret, run_digest)
    return f"{base_url.rstrip('/')}{PREFIX}/{quote(conn_id, safe='')}/{token}"


def check_callback(callback: object, callback_url: object) -> None:
    """Check the operator's argument ``callback``.

    :param callback: the argument.
    :param callback_url: the argument of this name, which excludes it.
    :raises FlowrouteValueError: the plugin cannot receive the callback.
    """
    if callback is not None and (callback != "plugin" or callback_url or not HAS_ASSET_STATE):
        raise FlowrouteValueError(
            f"callback cannot be {callback!r} here.\n"
            f'It is None, or "plugin" on Airflow 3.3 and later and without a callback_url.\n'
            f"Omit callback, or give the URL of your own receiver as callback_url."
        )


def plugin_callback_url(conn_id: str, secret: str | None, ti: Any) -> str:
    """Return the URL at which the plugin receives the callback of a task instance.

    :param conn_id: ID of the Airflow connection.
    :param secret: the connection's ``callback_secret``.
    :param ti: the task instance.
    :raises FlowrouteConnectionConfigError: the connection has no secret, or Airflow has no base URL.
    """
    from airflow.providers.common.compat.sdk import conf

    base_url = conf.get("api", "base_url", fallback="")
    if not secret or not base_url:
        missing = "[api] base_url is not set" if secret else "The connection's extra has no callback_secret"
        raise FlowrouteConnectionConfigError(
            f"Connection {conn_id!r} cannot receive callbacks.\n{missing}.\nSet it, or omit callback."
        )
    return build_callback_url(base_url, conn_id, secret, (ti.dag_id, ti.run_id, ti.task_id, ti.map_index))


def is_valid_token(token: str, conn_id: str, secret: str) -> bool:
    """Return whether a token was signed with the secret for a run of this connection.

    :param token: the last part of the URL.
    :param conn_id: ID of the Airflow connection.
    :param secret: the connection's ``callback_secret``.
    """
    expected = token[:_RUN_LENGTH] + _sign(conn_id, secret, token[:_RUN_LENGTH])
    return hmac.compare_digest(token.encode(), expected.encode())


def _sign(conn_id: str, secret: str, run_digest: str) -> str:
    message = json.dumps(["flowroute-callback", conn_id, run_digest]).encode()
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
