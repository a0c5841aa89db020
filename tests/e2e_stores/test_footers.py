"""The footer of a landed file in an object store takes at most three requests."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_flowroute.landing.footer import read_footer
from tests.landing.test_footer import TOTALS, a_file

from .stores import S3rver


@pytest.mark.parametrize(("row_groups", "requests"), [(1, 2), (60, 3)])
def test_a_footer_takes_at_most_three_requests(store, tmp_path, row_groups, requests):
    a_file(tmp_path / "cdrs.parquet", row_groups)
    store.put("cdrs.parquet", (tmp_path / "cdrs.parquet").read_bytes())
    path = ObjectStoragePath(store.at("cdrs.parquet"))
    _ = path.fs

    footer = read_footer(path)

    assert footer is not None
    assert footer.totals == TOTALS
    if isinstance(store, S3rver):
        requests += row_groups > 1  # it answers with other bytes than the last ones
    assert len(store.proxy.seen_of("cdrs.parquet")) <= requests, store.proxy.seen


def test_an_empty_object_has_no_footer(store):
    if isinstance(store, S3rver):
        pytest.skip("It does not answer a request for the last bytes of an empty object.")
    store.put("empty.parquet", b"")

    assert read_footer(ObjectStoragePath(store.at("empty.parquet"))) is None


def test_a_missing_object_has_no_footer(store):
    assert read_footer(ObjectStoragePath(store.at("none.parquet"))) is None


def test_a_replaced_object_has_the_new_footer(store, tmp_path):
    """Also if the file system of this process knows the old size."""
    path = ObjectStoragePath(store.at("cdrs.parquet"))
    for row_groups in (3, 1):
        a_file(tmp_path / "cdrs.parquet", row_groups)
        store.put("cdrs.parquet", (tmp_path / "cdrs.parquet").read_bytes())
        path.fs.ls(f"{store.bucket}/")

        footer = read_footer(path)

        assert footer is not None
        assert footer.size == (tmp_path / "cdrs.parquet").stat().st_size
