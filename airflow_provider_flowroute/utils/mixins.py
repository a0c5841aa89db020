"""What Flowroute's operators and sensors share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_flowroute.exceptions import FlowrouteError
from airflow_provider_flowroute.hooks.flowroute import FlowrouteHook

if TYPE_CHECKING:
    from airflow_provider_flowroute.api.client import FlowrouteClient


@contextmanager
def fail_without_retry(
    *, except_for: type[FlowrouteError] | tuple[type[FlowrouteError], ...] = ()
) -> Iterator[None]:
    """Fail the task without using its ``retries`` on a permanent error.

    :param except_for: permanent errors that a retry of this task can fix, for example because it creates a new export.
    :raises AirflowFailException: instead of a permanent error, with the same message.
    """
    try:
        yield
    except FlowrouteError as e:
        if e.transient or isinstance(e, except_for):
            raise
        # "from None": Airflow would print the cause, which has the same message, a second time.
        raise AirflowFailException(str(e)) from None


class FlowrouteHookMixin:
    """Give an operator or sensor the hook and the client of its ``flowroute_conn_id``, created on first use."""

    flowroute_conn_id: str

    @cached_property
    def hook(self) -> FlowrouteHook:
        """The hook for ``flowroute_conn_id``."""
        return FlowrouteHook(self.flowroute_conn_id)

    @property
    def client(self) -> FlowrouteClient:
        """The client of the hook."""
        return self.hook.get_conn()
