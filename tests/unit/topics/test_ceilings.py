"""The highest limits that requests may set: an operator's, and a key's."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from topics.catalogue import catalogue
from topics.contract.schemas import asyncapi
from topics.kafka.codec import encode
from topics.request.ceilings import Ceilings
from topics.request.errors import InvalidRequestError
from topics.request.limits import GiB, MiB
from topics.request.model import SubmissionRequest
from topics.request.parsing import parse_request
from topics.security.api_keys import Quotas
from topics.settings import KafkaSettings


def ceilings(**stages: Any) -> Ceilings:
    return Ceilings.model_validate_json(json.dumps(stages))


def accepted(in_force: Ceilings, of_key: dict[str, float] | None = None, **fields: Any) -> SubmissionRequest:
    raw = json.dumps({"run": "true"} | fields).encode()
    return parse_request(raw, MiB, (), in_force, of_key or {})[0]


def refused(in_force: Ceilings, of_key: dict[str, float] | None = None, **fields: Any) -> list[str]:
    with pytest.raises(InvalidRequestError) as refusal:
        accepted(in_force, of_key, **fields)
    return [str(error) for error in refusal.value.errors]


def test_a_raised_ceiling_allows_more_and_a_log_is_read_with_any() -> None:
    raised = ceilings(run={"wall_time_s": 3600, "memory_bytes": 16 * GiB})
    limits = {"run": {"wall_time_s": 3600, "memory_bytes": 16 * GiB}}
    request = accepted(raised, limits=limits)
    assert (request.limits.run.wall_time_s, request.limits.run.memory_bytes) == (3600, 16 * GiB)
    assert SubmissionRequest.read(encode(request)) == request
    assert refused(Ceilings(), limits=limits) == [
        "limits.run.wall_time_s: must be at least 0.1 and at most 60",
        f"limits.run.memory_bytes: must be at least {4 * MiB} and at most {2 * GiB}",
    ]


def test_a_lowered_ceiling_bounds_defaults() -> None:
    lowered = ceilings(run={"wall_time_s": 2, "open_files": 100}, dependencies={"wall_time_s": 30})
    limits = accepted(lowered, limits={"run": {"open_files": 50}}).limits
    assert (limits.run.wall_time_s, limits.run.open_files, limits.dependencies.wall_time_s) == (2, 50, 30)
    assert limits.compile.wall_time_s == 60
    assert refused(lowered, limits={"run": {"wall_time_s": 3}}) == [
        "limits.run.wall_time_s: must be at least 0.1 and at most 2"
    ]


def test_a_checker_obeys_the_ceilings_of_run_and_compile() -> None:
    in_force = ceilings(run={"wall_time_s": 5}, compile={"wall_time_s": 20})
    checker = {"mode": "checker", "run": "true"}
    found = accepted(in_force, comparison=checker).checker
    assert found is not None
    assert (found.limits.wall_time_s, found.compile_limits.wall_time_s) == (5, 20)
    over = checker | {"limits": {"wall_time_s": 6}, "compile_limits": {"cpus": 3}}
    assert refused(in_force, comparison=over) == [
        "comparison.compile_limits.cpus: must be at least 0.1 and at most 2",
        "comparison.limits.wall_time_s: must be at least 0.1 and at most 5",
    ]
    assert refused(in_force, comparison=checker | {"limits": {"cpus": 0}}) == [
        "comparison.limits.cpus: must be at least 0.1 and at most 2"
    ]


def test_all_errors_of_a_request_come_together() -> None:
    assert refused(Ceilings(), limits={"run": {"cpus": 9, "processes": 0}}, tags=[1])[0].startswith(
        "limits.run"
    )
    assert len(refused(Ceilings(), limits={"run": {"cpus": 9, "processes": 0}}, tags=[1])) == 3


def test_a_key_has_the_lower_of_both_ceilings() -> None:
    of_key: dict[str, float] = {"run.wall_time_s": 5, "run.cpus": 64, "run.unheard_of": 1}
    assert accepted(Ceilings(), of_key).limits.run.wall_time_s == 5
    assert refused(Ceilings(), of_key, limits={"run": {"wall_time_s": 6, "cpus": 3}}) == [
        "limits.run.wall_time_s: must be at least 0.1 and at most 5 with this API key",
        "limits.run.cpus: must be at least 0.1 and at most 2",
    ]
    assert encode(Quotas()) == b'{"requests_per_s":null,"burst":1,"unfinished":null}'


def test_no_ceiling_of_a_key_is_below_the_floor() -> None:
    of_key: dict[str, float] = {"run.wall_time_s": 0.01, "run.processes": 0.5, "compile.memory_bytes": -1}
    request = accepted(Ceilings(), of_key)
    limits = request.limits
    assert (limits.run.wall_time_s, limits.run.processes) == (0.1, 1)
    assert limits.compile.memory_bytes == 4 * MiB
    assert SubmissionRequest.read(encode(request)) == request
    assert refused(Ceilings(), of_key, limits={"run": {"wall_time_s": 1}}) == [
        "limits.run.wall_time_s: must be at least 0.1 and at most 0.1 with this API key"
    ]


@pytest.mark.parametrize(
    "wrong", [{"run": {"wall_time": 1}}, {"run": {"cpus": 0}}, {"compile": {"open_files": 2**21}}]
)
def test_wrong_ceilings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ceilings(**wrong)


def test_the_contract_has_the_ceilings_in_force() -> None:
    kafka = KafkaSettings(ceilings=ceilings(run={"wall_time_s": 300}))
    schemas = asyncapi(kafka, catalogue(kafka))["components"]["schemas"]
    assert schemas["submission.request.RunLimits"]["properties"]["wall_time_s"]["maximum"] == 300
    assert "maximum" not in schemas["submission.requested.v1.RunLimits"]["properties"]["wall_time_s"]
