"""Files in boxes, what comes out of them, and forks of them."""

import gc

import pytest

from processors.sandbox import BoxTooSmallError, Sandboxes
from tests.system.sandbox.laboratory import LIMITS, Laboratory, bash, open_descriptors

FILES = {"main.py": b"print(1)", "a/b/c.txt": b"c", "a/d.bin": bytes(range(256))}


def test_files_and_folders_are_the_programs_own(laboratory: Laboratory) -> None:
    done = laboratory.script("find . -type f | sort; rm -r a; echo x >> main.py; ls", files=FILES)
    assert done.stdout == b"./a/b/c.txt\n./a/d.bin\n./main.py\nmain.py\n"
    assert done.stderr == b""


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "."])
def test_names_that_lead_out_of_the_box_are_refused(laboratory: Laboratory, name: str) -> None:
    with pytest.raises(ValueError, match="not a path inside"):
        laboratory.script("true", files={name: b"x"})


def test_files_that_do_not_fit_name_the_limit(laboratory: Laboratory) -> None:
    with pytest.raises(BoxTooSmallError) as error:
        laboratory.script("true", LIMITS.replace(box_bytes=4096), {"x": bytes(5000)})
    assert error.value.limit == "box_bytes"
    with pytest.raises(BoxTooSmallError) as error:
        laboratory.script("true", LIMITS.replace(box_files=2), {"a/b": b"", "c": b""})
    assert error.value.limit == "box_files"


def test_forks_see_the_box_as_it_was_and_not_each_other(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box(FILES, LIMITS) as box:
            await bash(box, "echo compiled > out; mkdir -p deep/er; ln -s out link")
            for number in range(2):
                async with box.fork(LIMITS) as fork:
                    done = await bash(
                        fork,
                        "cat out link; ls; rm -r a main.py; mv deep moved; echo more >> out;"
                        "mkdir new; echo x > new/x; ls /tmp",
                    )
                    assert done.stderr == b"", number
                    assert done.stdout == b"compiled\ncompiled\na\ndeep\nlink\nmain.py\nout\n"
                    assert fork.read("out", 100) == b"compiled\nmore\n"
                    assert fork.read("new/x", 100) == b"x\n"
            assert box.read("out", 100) == b"compiled\n"

    laboratory.run(experiment)


def test_forks_side_by_side(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with (
            sandboxes.box({"x": b"0"}, LIMITS) as box,
            box.fork(LIMITS) as one,
            box.fork(LIMITS) as other,
        ):
            await bash(one, "echo 1 > x")
            await bash(other, "echo 2 > x")
            await bash(box, "echo 3 > x")
            assert (one.read("x", 9), other.read("x", 9), box.read("x", 9)) == (b"1\n", b"2\n", b"3\n")

    laboratory.run(experiment)


def test_writing_to_a_fork_is_bounded_by_its_own_limits(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({"large": bytes(8 << 20)}, LIMITS) as box:
            small = LIMITS.replace(box_bytes=1 << 20, box_files=10)
            async with box.fork(small) as fork:
                done = await bash(fork, "head -c 2000000 /dev/zero > x", small)
                assert done.limit_exceeded == "box_bytes"
            async with box.fork(small) as fork:
                done = await bash(fork, "for i in {1..20}; do : > $i || exit 1; done", small)
                assert done.limit_exceeded == "box_files"
                assert done.stderr.count(b"No space") == 1
            async with box.fork(small) as fork:
                done = await bash(fork, "for i in {1..9}; do : > $i || exit 1; done; wc -c < large", small)
                assert (done.stdout, done.limit_exceeded) == (b"8388608\n", None)

    laboratory.run(experiment)


def test_reading_a_file(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box(FILES, LIMITS) as box:
            assert box.read("a/b/c.txt", 1) == b"c"
            with pytest.raises(OSError, match="larger than 255"):
                box.read("a/d.bin", 255)
            with pytest.raises(FileNotFoundError):
                box.read("none", 1)

    laboratory.run(experiment)


def test_a_box_takes_no_descriptors(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async def use() -> int:
            async with sandboxes.box(FILES, LIMITS) as box:
                await bash(box, "cat", stdin=b"x")
                async with box.fork(LIMITS) as fork:
                    await bash(fork, "sleep 100", LIMITS.replace(wall_time_s=0.05))
            gc.collect()  # of the tests before, too
            return open_descriptors()

        before = await use()
        assert [await use() for _ in range(5)] == [before] * 5

    laboratory.run(experiment)


def test_forks_of_forks_and_forks_that_end_in_any_order(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        async with sandboxes.box({"x": b"0"}, LIMITS) as box:
            first = box.fork(LIMITS)
            one = await first.__aenter__()
            async with box.fork(LIMITS) as two:
                await bash(one, "echo 1 > x")
                await bash(two, "echo 2 > x")
                await first.__aexit__(None, None, None)
                async with box.fork(LIMITS) as three, two.fork(LIMITS) as deeper:
                    await bash(deeper, "echo 4 >> x")
                    assert three.read("x", 9) == b"0"
                    assert deeper.read("x", 9) == b"2\n4\n"
                    assert two.read("x", 9) == b"2\n"

    laboratory.run(experiment)


def test_a_box_without_a_fork_has_as_much_room_as_a_fork(laboratory: Laboratory) -> None:
    async def experiment(sandboxes: Sandboxes) -> None:
        small = LIMITS.replace(box_bytes=1 << 20, box_files=10)
        files = {"large": bytes(900_000), **{f"x{number}": b"" for number in range(8)}}
        async with sandboxes.box(files, small) as box:
            box.make_room(small)
            done = await bash(box, "head -c 1000000 /dev/zero > y && rm y && touch {1..10}", small)
            assert (done.stderr, done.limit_exceeded) == (b"", None)
            assert (await bash(box, "touch 11", small)).limit_exceeded == "box_files"
            done = await bash(box, "rm {1..10}; head -c 2000000 /dev/zero > y", small)
            assert done.limit_exceeded == "box_bytes"

    laboratory.run(experiment)
