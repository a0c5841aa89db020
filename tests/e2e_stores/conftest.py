"""Each test of this folder runs against each object store: Moto in ``make test``, all in ``make e2e-stores``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.transfers.conftest import a_lander, a_source, lander  # noqa: F401

from .proxy import proxy_for
from .stores import Azurite, FakeGcs, Moto, S3rver, Store, connect

# gcsfs would ask Google by gRPC about the bucket, whatever endpoint its connection has.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

NUMBERS = count()


@pytest.fixture(
    scope="session",
    params=[Moto, *(pytest.param(kind, marks=pytest.mark.e2e_stores) for kind in (S3rver, FakeGcs, Azurite))],
    ids=lambda kind: kind.__name__.lower(),
)
def server(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server of a store: makes a store of it with a bucket of its own."""
    kind: type[Store] = request.param
    with kind.server(tmp_path_factory.mktemp("store")) as port:
        yield lambda: kind(port, f"lake{next(NUMBERS)}")


@pytest.fixture
def store(server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store with an empty bucket, which Airflow reaches through ``store.proxy``."""
    # Airflow keeps the file system of a connection, and other tests use the same ID for another server.
    for name in ("airflow.sdk.io.store", "airflow.io.store"):
        getattr(sys.modules.get(name), "_STORE_CACHE", {}).clear()
    store = server()
    with proxy_for(store.port) as store.proxy:
        connect(monkeypatch, store, store.connection(store.proxy.port))
        yield store
