"""Real processes, killed at the worst moments: the run succeeds with one export and a complete file."""

from __future__ import annotations

import gzip

import pytest

from airflow_provider_flowroute import exceptions
from tests.e2e.airflow_processes import KEEPS_STATE
from tests.e2e.cases import CASES
from tests.e2e.report import REPORT, number_of_tries
from tests.e2e.runs import Case, Run, Started

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

OUR_ERRORS = [name for name in vars(exceptions) if name.endswith("Error")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_run_succeeds_with_one_export_and_a_complete_file(case: Case, runs: Started[Run]) -> None:
    run, carried_out = runs[case.name]
    carried_out.result()

    exports = run.flowroute.exports
    tries = run.airflow.task(case.name, "create")[1]
    state = run.airflow.run_state(case.name)
    REPORT.add(case.failure, case.mode, state, number_of_tries(tries, case.tries), len(exports))
    log = "\n".join(run.airflow.log(case.name, "create", n) for n in range(1, tries + 1))
    assert state == "success", log
    assert len(exports) == case.exports, log
    assert exports[-1].downloads > 0
    assert gzip.decompress(run.path.read_bytes()) == run.flowroute.csv(exports[-1].id)
    # Airflow itself caused any further try: the log shows no error of this package.
    assert tries >= case.tries
    assert [name for name in OUR_ERRORS if name in log] == []
    if tries == case.tries:
        assert ("Resuming export" in log) == case.resumes


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_list_is_read_only_where_the_id_is_unknown(case: Case, runs: Started[Run]) -> None:
    run, carried_out = runs[case.name]
    carried_out.result()

    tries = run.airflow.task(case.name, "create")[1]
    listed = sum(request.on == "list" for request in run.flowroute.requests)
    each_try_began_a_cycle = tries == case.exports
    if case.id_is_known and (KEEPS_STATE or each_try_began_a_cycle):
        assert listed == 0
    else:
        assert 1 <= listed <= tries


@pytest.mark.skipif(not KEEPS_STATE, reason="This Airflow keeps no task state.")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_state_is_kept_for_a_task_that_succeeded(case: Case, runs: Started[Run]) -> None:
    run, carried_out = runs[case.name]
    carried_out.result()

    assert run.airflow.query("SELECT value FROM task_state_store WHERE dag_id = :name", name=case.name) == []
