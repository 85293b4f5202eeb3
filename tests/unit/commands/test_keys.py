"""Lines of `envicutor keys list`."""

from infra.commands.keys import line
from topics.request.limits import MiB
from topics.security.api_keys import ApiKey, Quotas, Scope


def test_ceilings_are_shown_as_they_are() -> None:
    ceilings = {"run.memory_bytes": 256 * MiB, "run.wall_time_s": 0.5}
    key = ApiKey(
        id="id", name="n", scopes=(Scope.READ,), quotas=Quotas(ceilings=ceilings), created_at="2026-01-01"
    )
    read = ApiKey.read(key.model_dump_json())
    assert line(read).endswith("  run.memory_bytes at most 268435456; run.wall_time_s at most 0.5")
