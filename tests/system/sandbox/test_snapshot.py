"""What was in a box is in another: all of it, or it is said that it cannot be."""

import pytest

from processors.sandbox import Sandboxes, SnapshotError
from tests.system.sandbox.laboratory import LIMITS, Laboratory, bash

LISTING = 'find . -mindepth 1 -printf "%P %y %m %l %s %U\\n" | sort; cat a/b/x; stat -c %.6Y old'


def snapshot_after(laboratory: Laboratory, script: str) -> bytes:
    async def experiment(sandboxes: Sandboxes) -> bytes:
        async with sandboxes.box({"main.py": b"print(1)"}, LIMITS.replace(box_files=8192)) as box:
            assert (await bash(box, script)).exit_code == 0
            return await box.snapshot()

    return laboratory.run(experiment)


def test_a_box_is_put_back_as_it_was(laboratory: Laboratory) -> None:
    make = (
        "mkdir -p a/b empty; echo hi > a/b/x; chmod 640 a/b/x; chmod 000 empty; ln -s /etc/passwd out;"
        'ln -s a/b in; truncate -s 100000 hole; touch "$(printf "\\377 \\n")"; touch -d @123.456789 old'
    )

    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({"main.py": b"print(1)"}, LIMITS) as one, sandboxes.box({}, LIMITS) as other:
            await bash(one, make)
            await other.restore(await one.snapshot())
            before, after = await bash(one, LISTING), await bash(other, LISTING)
            assert b"old f 644  0 " in before.stdout
            assert b"hi\n123.456789\n" in before.stdout
            assert after.stdout == before.stdout
            assert (await bash(other, "echo new >> a/b/x; echo x > in/y; ./main.py; rm -r a")).exit_code == 0

    laboratory.run(experiment)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("ln main.py again", "hard link"),
        ("mkfifo pipe", "hard link, or neither"),
        ("truncate -s 17M huge; cp --sparse=always huge more", "bytes"),
        ("seq 5000 | xargs touch", "4096 files"),
        ("for i in {1..20}; do mkdir -p $(printf %0250d 0) && cd $_; done", "2048 bytes"),
        ("for i in {1..40}; do mkdir d; cd d; done", "32 folders"),
    ],
)
def test_what_cannot_be_kept_is_refused(laboratory: Laboratory, script: str, reason: str) -> None:
    with pytest.raises(SnapshotError, match=reason):
        snapshot_after(laboratory, script)


def test_what_does_not_fit_is_not_put_back(laboratory: Laboratory) -> None:
    kept = snapshot_after(laboratory, "head -c 100000 /dev/zero > file")

    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({}, LIMITS.replace(box_bytes=50_000)) as box:
            with pytest.raises(SnapshotError):
                await box.restore(kept)

    laboratory.run(experiment)


def test_nothing_outside_is_kept(laboratory: Laboratory) -> None:
    kept = snapshot_after(laboratory, "ln -s /etc/passwd p; ln -s / root; ln -s /proc/self/environ e")
    assert b"root:" not in kept
    assert b"PATH=" not in kept
