"""A metric is only sent, and never breaks a task."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from airflow_provider_flowroute.utils.metrics import Metric, count


class BrokenClient:
    """A custom client of a user, which raises an error for every metric."""

    def __getattr__(self, method: str) -> object:
        raise RuntimeError(f"no {method} today")


def test_broken_client_is_only_logged(monkeypatch, caplog):
    monkeypatch.setattr("airflow.providers.common.compat.sdk.Stats", BrokenClient(), raising=False)

    count(Metric.EXPORTS_CREATED, {})

    assert "Airflow could not send the metric flowroute.exports.created.\nRuntimeError" in caplog.text


@pytest.mark.skipif(
    version("apache-airflow").startswith("3.2."),
    reason="Airflow 3.2 sets up Stats only in the process of a task.",
)
def test_counter_keeps_its_value_and_its_tags(statsd):
    count(Metric.LANDED_COST, {"conn_id": "flowroute_emea"}, 0.024689)

    [sample] = statsd.receive()
    assert (sample.name, sample.value, sample.kind) == ("flowroute.landed.cost", 0.024689, "c")
    assert sample.tags == {"conn_id": "flowroute_emea"}


@pytest.mark.parametrize("metric", Metric)
def test_names_need_no_change_for_any_backend(metric):
    """Lower case, dots and underscores only: valid for StatsD, OpenTelemetry and, with underscores, Prometheus."""
    assert metric.value == metric.value.lower()
    assert metric.value.replace(".", "").replace("_", "").isalpha()
