"""The other engine by a smoke test; `ENVICUTOR_SANDBOX_ENGINE=bubblewrap` runs everything else on it too."""

import pytest

from processors.sandbox import SandboxSettings
from tests.system.sandbox.laboratory import LIMITS, Laboratory, left_by

LOOK_AROUND = """
id -u; id -g; hostname; pwd; ls -m /
for file in /usr/x /x /etc/x /dev/x /proc/sys/x; do touch $file 2>/dev/null && echo "wrote $file"; done
echo box > /box/x && echo tmp > /tmp/x && echo shm > /dev/shm/x && echo "wrote where it may"
tail -n +3 /proc/net/dev | cut -d: -f1
kill -9 1; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\t'
cat /proc/1/cmdline /proc/self/environ /proc/self/cgroup >&2
"""
FOUND = """\
1000
1000
box
/box
bin, box, dev, etc, lib, lib64, proc, sbin, tmp, usr
wrote where it may
    lo
CapEff:0000000000000000
CapBnd:0000000000000000
NoNewPrivs:1
Seccomp:2
"""


@pytest.fixture(params=["native", "bubblewrap"])
def either(request: pytest.FixtureRequest, settings: SandboxSettings) -> Laboratory:
    return Laboratory(settings.model_copy(update={"engine": request.param}))


def test_what_a_program_finds_is_the_same(either: Laboratory) -> None:
    done = either.script(LOOK_AROUND)
    assert done.stdout.decode() == FOUND
    for path in (either.settings.state_dir, either.settings.cache_dir):
        assert str(path).encode() not in done.stderr
    assert left_by(either.settings, either.groups) == []


@pytest.mark.parametrize(
    ("script", "limit", "value"),
    [
        ("tail /dev/zero", "memory_bytes", 64 << 20),
        ("exec timeout 9 true", "processes", 1),
        ("setsid sleep 100 & sleep 100", "wall_time_s", 0.5),
        ("while :; do :; done", "cpu_time_s", 0.3),
        ("yes", "stdout_bytes", 1000),
    ],
)
def test_limits_hold(either: Laboratory, script: str, limit: str, value: float) -> None:
    done = either.script(script, LIMITS.replace(**{limit: value}))
    assert done.limit_exceeded == limit
    assert left_by(either.settings, either.groups) == []
