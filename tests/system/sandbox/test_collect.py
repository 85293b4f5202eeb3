"""Output files: what comes out of boxes, whatever the program did to them."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from processors.sandbox import Collected, Sandboxes
from processors.sandbox.collect import WALK_S
from tests.system.sandbox.laboratory import LIMITS, Laboratory, bash
from topics.request.output_patterns import OUTPUT_FILE_BYTES, OUTPUT_FILES

MANY = LIMITS.replace(box_files=65536, memory_bytes=1 << 30)


def collected(
    laboratory: Laboratory, script: str, patterns: Sequence[str], room_bytes: int = 1 << 20
) -> Collected:
    """What patterns bring after a script ran in a fork of a box in which `compiled/x` was made."""

    async def experiment(sandboxes: Sandboxes) -> Collected:
        async with sandboxes.box({}, MANY) as box:
            await bash(box, "mkdir compiled; echo compiled > compiled/x")
            async with box.fork(MANY) as fork:
                done = await bash(fork, script, MANY)
                assert (done.exit_code, done.stderr) == (0, b"")
                return await fork.collect(patterns, room_bytes)

    return laboratory.run(experiment)


def names(found: Collected) -> list[str]:
    return [file.name for file in found.files]


def test_files_come_by_pattern_then_by_name(laboratory: Laboratory) -> None:
    script = "mkdir -p out/deep; echo b > out/b.csv; echo a > out/a.csv; echo c > out/deep/c.csv; echo p > p"
    found = collected(laboratory, script, ["p", "out/**", "compiled/*", "*.csv", "missing"])
    assert [(file.name, file.content) for file in found.files] == [
        ("p", b"p\n"),
        ("out/a.csv", b"a\n"),
        ("out/b.csv", b"b\n"),
        ("out/deep/c.csv", b"c\n"),
        ("compiled/x", b"compiled\n"),
    ]
    assert found.complete


def test_what_the_program_changed_and_removed(laboratory: Laboratory) -> None:
    found = collected(laboratory, "rm -r compiled; mkdir compiled; echo new > compiled/y", ["compiled/*"])
    assert [(file.name, file.content) for file in found.files] == [("compiled/y", b"new\n")]


def test_only_regular_files_and_no_links(laboratory: Laboratory) -> None:
    script = """
    mkdir -p real; echo secret > real/file; ln real/file hard; chmod 000 hard
    ln -s /etc/passwd passwd; ln -s real linked; ln -s /etc etc; ln -s . loop
    mkfifo fifo; mkdir folder.csv
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
    mv real moved; ln -s /etc real
    """
    patterns = [
        "passwd",
        "linked/file",
        "etc/passwd",
        "environ",
        "fifo",
        "socket",
        "real/*",
        "loop/hard",
        "**",
    ]
    found = collected(laboratory, script, patterns)
    assert names(found) == ["compiled/x", "hard", "moved/file"]
    assert {file.content for file in found.files} == {b"compiled\n", b"secret\n"}
    assert found.complete


def test_sizes_and_numbers_are_bounded(laboratory: Laboratory) -> None:
    script = f"""
    truncate --size {OUTPUT_FILE_BYTES + 1} sparse; truncate --size 1000 one two; truncate --size 10 zero
    for n in $(seq 100); do echo > many-$n; done
    """
    found = collected(laboratory, script, ["sparse", "one", "two", "zero"], room_bytes=1999)
    assert [(file.size_bytes, file.content and len(file.content)) for file in found.files] == [
        (OUTPUT_FILE_BYTES + 1, None),
        (1000, 1000),
        (1000, None),
        (10, 10),
    ]
    found = collected(laboratory, script, ["many-*"])
    assert len(found.files) == OUTPUT_FILES
    assert not found.complete


def test_names_that_cannot_be_told(laboratory: Laboratory) -> None:
    script = r"""
    touch $'bad\xff' $'line\nbreak'
    long=$(printf '%0250d' 0); mkdir -p $long/$long/$long/$long; cd $long/$long
    touch x; cd $long/$long; touch $long
    """
    found = collected(laboratory, script, ["**"])
    assert [name[-10:] for name in names(found)] == ["00000000/x", "compiled/x", "line\nbreak"]
    assert not found.complete


@pytest.mark.parametrize(
    "script",
    [
        """python3 - <<'END'
import os
for number in range(60_000): os.close(os.open(f"file-{number}", os.O_CREAT))
END""",
        """python3 - <<'END'
import os
for number in range(20_000): os.mkdir("d"); os.chdir("d")
END""",
        """python3 - <<'END'
import os
for a in range(200):
    os.mkdir(str(a))
    for b in range(200): os.mkdir(f"{a}/{b}")
END""",
    ],
    ids=["wide", "deep", "bushy"],
)
def test_no_tree_blocks_the_worker(laboratory: Laboratory, script: str) -> None:
    patterns = [f"**/{'a*' * 20}{number}/**/x" for number in range(31)] + ["**/x"]

    async def experiment(sandboxes: Sandboxes) -> tuple[float, int]:
        async with sandboxes.box({}, MANY) as box, box.fork(MANY) as fork:
            done = await bash(fork, script, MANY)
            assert (done.exit_code, done.stderr) == (0, b"")
            started, turns = time.monotonic(), 0
            collecting = asyncio.create_task(fork.collect(patterns, 1 << 20))
            while not collecting.done():
                await asyncio.sleep(0.01)
                turns += 1
            assert list((await collecting).files) == []
            return time.monotonic() - started, turns

    took_s, turns = laboratory.run(experiment)
    assert took_s < WALK_S * 10
    assert turns > 3 or took_s < WALK_S / 4  # a loop that is blocked has one


def test_cancelling_lets_the_walk_end_before_the_box_goes(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({}, MANY) as box, box.fork(MANY) as fork:
            await bash(fork, "mkdir $(seq 1000)", MANY)
            collecting = asyncio.create_task(fork.collect(["**/x"], 1 << 20))
            await asyncio.sleep(0)
            collecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await collecting

    laboratory.run(experiment)
