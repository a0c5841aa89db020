"""Shared behavior of the Flowroute operators and sensors: the hook, its sessions, errors and early checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_flowroute.exceptions import FlowrouteError
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook
from airflow_provider_flowroute.utils.metrics import count_error

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_provider_flowroute.api.client import FlowrouteClient


@contextmanager
def fail_without_retry(
    *, except_for: type[FlowrouteError] | tuple[type[FlowrouteError], ...] = ()
) -> Iterator[None]:
    """Fail the task without using its ``retries`` on a permanent error.

    :param except_for: permanent errors that a retry of this task fixes, for example by creating a new export.
    :raises AirflowFailException: instead of a permanent error, with the same message.
    """
    try:
        yield
    except FlowrouteError as e:
        if e.transient or isinstance(e, except_for):
            raise
        # Without "from None", Airflow prints the chained error too, so the message appears twice.
        raise AirflowFailException(str(e)) from None


def is_literal(value: object) -> bool:
    """Return whether an argument is final when the DAG is parsed.

    :param value: argument of an operator. A template, an XComArg or a param, also inside a list or a mapping, is not
        final.
    """
    if isinstance(value, str):
        return not any(mark in value for mark in ("{{", "{%", "{#"))
    if isinstance(value, Mapping):
        return all(map(is_literal, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(is_literal, value))
    return value is None or isinstance(value, int | float | Decimal | date)


class FlowrouteHookMixin:
    """Give an operator or sensor the hook and the client of its ``flowroute_conn_id``.

    Both are created on first use.
    """

    flowroute_conn_id: str

    @cached_property
    def hook(self) -> FlowrouteHook:
        """Return the hook for ``flowroute_conn_id``."""
        return FlowrouteHook(self.flowroute_conn_id)

    @property
    def client(self) -> FlowrouteClient:
        """Return the hook's client."""
        return self.hook.get_conn()

    @property
    def metric_tags(self) -> dict[str, str]:
        """Return the tags of the task's metrics."""
        task = cast("BaseOperator", self)
        return {"dag_id": task.dag_id, "task_id": task.task_id, "conn_id": self.flowroute_conn_id}


_Task = TypeVar("_Task", bound=FlowrouteHookMixin)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def closes_connections(
    method: Callable[Concatenate[_Task, _Arguments], _Result],
) -> Callable[Concatenate[_Task, _Arguments], _Result]:
    """Decorate a method of a task that closes the hook's HTTP sessions however it ends, also when it defers.

    The error that ends it is counted.
    """

    @wraps(method)
    def close_after(self: _Task, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            return method(self, *args, **kwargs)
        except (FlowrouteError, AirflowException) as e:
            count_error(e, self.metric_tags)
            raise
        finally:
            if "hook" in vars(self):
                self.hook.close()

    return close_after
