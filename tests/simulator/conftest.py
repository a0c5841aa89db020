from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_flowroute.simulator import FlowrouteSimulator
from tests.simulator.user import User


@pytest.fixture
def user(flowroute: FlowrouteSimulator) -> Iterator[User]:
    """A client with the keys of the account ``flowroute``."""
    with User(flowroute) as user:
        yield user
