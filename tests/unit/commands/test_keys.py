"""Lines of `envicutor keys`."""

from infra.commands.keys import line, without_effect
from topics.request.ceilings import Ceilings, RunCeilings
from topics.request.limits import MiB
from topics.security.api_keys import ApiKey, Quotas, Scope


def test_ceilings_are_shown_as_they_are() -> None:
    ceilings = {"run.memory_bytes": 256 * MiB, "run.wall_time_s": 0.5}
    key = ApiKey(
        id="id", name="n", scopes=(Scope.READ,), quotas=Quotas(ceilings=ceilings), created_at="2026-01-01"
    )
    read = ApiKey.read(key.model_dump_json())
    assert line(read).endswith("  run.memory_bytes at most 268435456; run.wall_time_s at most 0.5")


def test_a_ceiling_that_is_not_below_that_of_the_system_has_no_effect() -> None:
    of_key = {"run.wall_time_s": 300.0, "run.processes": 2}
    assert list(without_effect(of_key, Ceilings())) == [
        "run.wall_time_s=300.0 has no effect, unless the system's ENVICUTOR_CEILINGS allows more than 60.0"
    ]
    assert not list(without_effect(of_key, Ceilings(run=RunCeilings(wall_time_s=600))))
