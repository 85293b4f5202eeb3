"""What names a compile stage, and what is kept of it for how long."""

import os
from pathlib import Path

import pytest

from processors.sandbox import Rootfs
from processors.worker.compile_cache import CachedCompilation, CompileCache, Sources, decode, encode, key_of
from topics.request.cases import CheckerComparison, TestCase
from topics.request.files import File
from topics.request.limits import CompileLimits, Limits, RunLimits
from topics.request.model import SubmissionRequest
from topics.submissions.stage import CompileStage
from topics.submissions.state import Work

REQUEST = SubmissionRequest(
    files=(File(name="a.c", content="int x;"), File(name="b.c", content="int y;")),
    compile="cc",
    run="./a.out",
)
ROOTFS = Rootfs({"/usr": Path("/store/one/usr")}, {})
STAGE = CompileStage(stdout="warning\n", exit_code=0, wall_time_s=1.5)


def work(request: SubmissionRequest = REQUEST, **changes: object) -> Work:
    fields = {"id": "i", "attempt": 1, "request": request, "dependencies_id": "d", "package_set": "p"}
    return Work.model_validate(fields | changes)


def key(work: Work, rootfs: Rootfs = ROOTFS, variable: str = "1", answer_bytes: int = 1000) -> str:
    return key_of(Sources.of_program(work.request, {"A": variable}), work.owner, rootfs, answer_bytes)


def test_keys_are_those_of_earlier_versions() -> None:
    assert key(work()) == "5ff1c85bc7e63e2f1eaff7515edc7a7ed524eefb1d19453804d4cc612e580f27"
    assert key(work(owner="somebody")) == "8cc5efe231a79ae24bc826d6c243aaea70ef5778045616f540f3767fb35d7266"


def test_a_request_with_a_hidden_file_is_not_kept() -> None:
    def is_kept(case: TestCase) -> bool:
        return Sources.of_program(REQUEST.replace(test_cases=(case,)), {}).is_kept

    assert not is_kept(TestCase(input_file="a.c", hidden=True))
    assert is_kept(TestCase(input_file="a.c"))
    assert is_kept(TestCase(input="1", hidden=True))


def test_what_changes_nothing_of_the_compile_stage_does_not_change_its_key() -> None:
    shuffled = REQUEST.replace(
        files=REQUEST.files[::-1],
        run="./b.out",
        test_cases=(
            TestCase(input="31", encoding="hex", points=2.0),
            TestCase(input_file="b.c", hidden=True),
        ),
        comparison=CheckerComparison(mode="checker", run="true"),
        stop_at_first_failure=True,
        tags=("x",),
        limits=Limits(run=RunLimits(wall_time_s=1)),
    )
    assert key(work()) == key(work(shuffled, id="j", attempt=2, alone=True))


@pytest.mark.parametrize(
    "other",
    [
        key(work(REQUEST.replace(files=(File(name="a.c", content="int z;"), REQUEST.files[1])))),
        key(work(REQUEST.replace(files=REQUEST.files[:1]))),
        key(work(REQUEST.replace(compile=("cc",)))),
        key(work(REQUEST.replace(limits=Limits(compile=CompileLimits(cpus=2))))),
        key(work(REQUEST.replace(limits=Limits(compile=CompileLimits(stack_bytes=1 << 20))))),
        key(work(owner="somebody")),
        key(work(), Rootfs({"/usr": Path("/store/two/usr")}, {})),
        key(work(), variable="2"),
        key(work(), answer_bytes=999),
    ],
)
def test_all_else_does(other: str) -> None:
    assert other != key(work())


def test_what_is_read_is_what_was_written_or_nothing(tmp_path: Path) -> None:
    cache, compiled = CompileCache(tmp_path / "new", 1 << 20), CachedCompilation(STAGE, b"a\nbox\0")
    assert cache.get("k") is None
    cache.put("k", compiled)
    cache.put("k", compiled)  # as two workers may
    assert cache.get("k") == compiled
    (tmp_path / "new" / "k").write_bytes(encode(compiled)[:-1])
    assert cache.get("k") is None
    assert not any((tmp_path / "new").iterdir())


@pytest.mark.parametrize("spoilt", [b"", b"short", encode(CachedCompilation(STAGE, b"x")) + b"y"])
def test_what_is_spoilt_is_refused(spoilt: bytes) -> None:
    with pytest.raises(ValueError, match="checksum"):
        decode(spoilt)


def test_what_was_not_used_for_longest_goes(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path, 100_000)
    for number in range(20):
        cache.put(str(number), CachedCompilation(STAGE, bytes(8000)))
        os.utime(tmp_path / str(number), (number, number))
        assert cache.get("0") is not None  # in use
    assert [cache.get(name) is not None for name in ("0", "1", "19")] == [True, False, True]
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir()) <= 100_000
    CompileCache(tmp_path, 20_000).put("new", CachedCompilation(STAGE, b""))  # a smaller limit than before
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir()) <= 20_000


def test_what_is_too_large_is_not_kept_nor_anything_at_a_limit_of_nothing(tmp_path: Path) -> None:
    CompileCache(tmp_path, 1000).put("k", CachedCompilation(STAGE, bytes(1000)))
    CompileCache(tmp_path, 0).put("k", CachedCompilation(STAGE, b""))
    assert not any(tmp_path.iterdir())
    assert not CompileCache(tmp_path, 0).enabled


def test_a_disk_that_cannot_be_written_to_is_no_fault_of_the_submission(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    CompileCache(tmp_path / "file", 1000).put("k", CachedCompilation(STAGE, b""))
