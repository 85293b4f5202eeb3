"""What a program finds in a sandbox, and that limits end it."""

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


@pytest.fixture
def laboratory(settings: SandboxSettings) -> Laboratory:
    return Laboratory(settings)


def test_what_a_program_finds(laboratory: Laboratory) -> None:
    done = laboratory.script(LOOK_AROUND)
    assert done.stdout.decode() == FOUND
    for path in (laboratory.settings.state_dir, laboratory.settings.cache_dir):
        assert str(path).encode() not in done.stderr
    assert left_by(laboratory.settings, laboratory.groups) == []


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
def test_limits_hold(laboratory: Laboratory, script: str, limit: str, value: float) -> None:
    done = laboratory.script(script, LIMITS.replace(**{limit: value}))
    assert done.limit_exceeded == limit
    assert left_by(laboratory.settings, laboratory.groups) == []
