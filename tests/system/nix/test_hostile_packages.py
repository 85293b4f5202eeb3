"""Archives and their maintainer scripts are treated as if they were hostile."""

import contextlib
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from nix.cache import BuildLimits, Cache, InstalledEnvironment
from nix.dependencies import Expression, Packages
from nix.errors import CacheError, DependenciesError, LimitError
from nix.folders import remove_now
from nix.settings import NixSettings
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes
from tests.system.nix.archives import Member, deb, make_package_set
from tests.system.nix.conftest import Host


class Build(Protocol):
    def __call__(
        self,
        members: list[Member],
        postinst: str = "",
        wall_time_s: float = 100,
        environment_bytes: int = 1 << 30,
        files: str = "",
    ) -> InstalledEnvironment: ...


@pytest.fixture
def pool() -> Iterator[Path]:
    """Not below pytest's own folder, which is closed to the users of the sandbox."""
    folder = Path(tempfile.mkdtemp(prefix="envicutor-pool-"))
    folder.chmod(0o755)
    yield folder
    remove_now(folder)  # what hostile packages left may be deep


@pytest.fixture
def build(host: Host, sandboxes: Sandboxes, pool: Path) -> Build:
    """Installs one package made of the given members and maintainer script, and with it small files."""

    def build(
        members: list[Member],
        postinst: str = "",
        wall_time_s: float = 100,
        environment_bytes: int = 1 << 30,
        files: str = "",
    ) -> InstalledEnvironment:
        settings = NixSettings(
            nix_root=host.settings.nix_root, cache_dir=pool, environment_bytes=environment_bytes
        )
        pin = make_package_set(settings, {"evil": deb(members, postinst)})
        cache = Cache(settings, SandboxRunner(sandboxes))
        limits = BuildLimits(wall_time_s=wall_time_s, memory_bytes=512 << 20, stderr_bytes=64 << 10)
        expression = Expression(f"{{ pkgs }}: with pkgs; [ evil {files} ]")
        wanted = expression if files else Packages(("evil",))
        return host.loop.run(cache.install(wanted, pin, limits, print))

    return build


def test_a_package_of_a_test_installs(build: Build, host: Host) -> None:
    installed = build([Member("./usr/bin/hello", b"hello")], "echo configured > /etc/mark")
    with host.cache.hold(installed.store_path) as tree:
        assert (tree / "usr/bin/hello").read_text() == "hello"
        assert (tree / "etc/mark").read_text() == "configured\n"


@pytest.mark.parametrize(
    "members",
    [
        [Member("../../../../../../../../tmp/envicutor-escaped", b"x")],
        [Member("/tmp/envicutor-escaped", b"x")],
        [
            Member("./usr/out", type=tarfile.SYMTYPE, link="/tmp"),
            Member("./usr/out/envicutor-escaped", b"x"),
        ],
        [
            Member("./usr/out", type=tarfile.SYMTYPE, link="../../../../../../../tmp"),
            Member("./usr/out/envicutor-escaped", b"x"),
        ],
        [Member("./usr", type=tarfile.SYMTYPE, link="/tmp"), Member("./usr/envicutor-escaped", b"x")],
        [Member("./var/lib", type=tarfile.SYMTYPE, link="/etc")],
        [Member("./usr/passwd", type=tarfile.LNKTYPE, link="/etc/passwd")],
        [Member("./usr/passwd", type=tarfile.LNKTYPE, link="../../../../../../../etc/passwd")],
    ],
)
def test_no_member_leads_out_of_the_build(build: Build, host: Host, members: list[Member]) -> None:
    try:
        installed = build(members)
    except DependenciesError:
        pass
    else:
        with host.cache.hold(installed.store_path) as tree:
            assert not (tree / "usr").is_symlink()
            assert not (tree / "var/lib").is_symlink()
            leaked = tree / "usr/passwd"
            assert leaked.is_symlink() or not leaked.exists() or "root:" not in leaked.read_text()
    assert not Path("/tmp/envicutor-escaped").exists()


def test_privileges_and_devices_do_not_reach_the_tree(build: Build, host: Host) -> None:
    installed = build(
        [Member("./usr/bin/su", b"x", mode=0o6755)], "chmod 6755 /usr/bin/su; chmod 1777 /var/tmp"
    )
    with host.cache.hold(installed.store_path) as tree:
        assert (tree / "usr/bin/su").stat().st_mode & 0o7777 == 0o555
    installed = build(
        [Member("./usr/null", type=tarfile.CHRTYPE), Member("./usr/pipe", type=tarfile.FIFOTYPE)]
    )
    with host.cache.hold(installed.store_path) as tree:
        assert not (tree / "usr/null").exists()
        assert not (tree / "usr/pipe").is_fifo()


@pytest.mark.parametrize("folder", ["usr", "etc", "var", "var/lib"])
def test_a_tree_whose_folders_are_links_is_refused(build: Build, folder: str) -> None:
    script = (
        f"b=/.configure/busybox; $b mv /{folder} /var/away || $b mv /{folder} /away; $b ln -s / /{folder}"
    )
    with pytest.raises(DependenciesError, match=r"something else than a folder|No such file or directory"):
        build([], script)


def test_a_maintainer_script_sees_no_host(build: Build, server: str, asked: list[str]) -> None:
    address, port = server.split(":")
    script = f"""
        b=/.configure/busybox
        $b wget -q -O /dev/null -T 2 http://{address}:{port}/x && echo reached the host
        $b ls /root /home /work 2>/dev/null
        $b env
        $b id -u
        $b mount -t tmpfs none /usr/share && $b umount /usr/share
        $b ps | $b wc -l
        exec $b cat /etc/shadow
    """
    # Whatever it prints is lost but for its last line: make all of it that.
    installed = build([], f"({script}) 2>&1 | /.configure/busybox tr '\\n' ' '; exit 1")
    assert "evil: its maintainer script ended with 1" in installed.log
    assert "root:" not in installed.log
    assert "reached the host" not in installed.log
    assert "SECRET" not in installed.log
    assert asked == []


@pytest.mark.parametrize(
    ("script", "wall_time_s", "limit"),
    [
        ("while :; do :; done & while :; do :; done", 5, "wall_time_s = 5$"),
        ("/.configure/busybox dd if=/dev/zero of=/dev/null bs=900M count=9", 100, "memory_bytes"),
        ("/.configure/busybox dd if=/dev/zero of=/tmp/x bs=1M count=900", 100, "memory_bytes"),
    ],
)
def test_a_maintainer_script_is_bounded(build: Build, script: str, wall_time_s: float, limit: str) -> None:
    with pytest.raises(DependenciesError, match=limit):
        build([], script, wall_time_s)


@pytest.mark.parametrize(
    "script",
    [
        "while :; do $b dd if=/dev/zero of=/usr/zeros-$((n += 1)) bs=1M count=8; done",
        "while :; do echo zeros > /var/zeros-$((n += 1)); done",  # each takes a block
        # Out of the chroot, where the build's own files are.
        "$b nsenter -m/proc/self/ns/mnt /build/root$b sh -c 'while :; do echo > /build/z-$((n += 1)); done'",
    ],
)
def test_what_a_maintainer_script_writes_is_bounded(build: Build, script: str) -> None:
    with pytest.raises(LimitError, match="environment_bytes"):
        build([], f"export b=/.configure/busybox n=0; {script}", environment_bytes=32 << 20)


def test_an_archive_that_unpacks_to_more_than_it_says_is_refused(build: Build) -> None:
    members = [Member(f"./usr/zeros{n}", bytes(16 << 20)) for n in range(8)]
    with pytest.raises(LimitError, match="environment_bytes"):
        build(members, "/.configure/busybox sleep 3", environment_bytes=64 << 20)


@pytest.mark.parametrize(
    "script",
    [
        "bomb() { bomb & bomb; }; bomb",
        "b=/.configure/busybox; while :; do $b sleep 100 & done",
    ],
)
def test_a_fork_bomb_of_a_maintainer_script_goes_off_alone(build: Build, script: str) -> None:
    try:
        told = build([], script, wall_time_s=50).log
    except LimitError as error:
        told = str(error)
    # The text of a shell that cannot fork may be torn, as many write at once.
    assert re.search(r"can't fork|ended with 2|limit (processes|memory_bytes|wall_time_s)", told)


def test_the_log_of_a_build_is_bounded(build: Build) -> None:
    line = "/.configure/busybox head -c 3000000 /dev/zero | /.configure/busybox tr '\\0' x; exit 1"
    with pytest.raises(LimitError, match="stderr_bytes"):
        build([], line)


def test_out_of_its_chroot_a_maintainer_script_finds_only_the_build(
    build: Build, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "do not tell")
    escaped = """
        b=/build/root/.configure/busybox
        [ -d /build ] && [ -d /lower ] && echo out
        $b touch /lower/escaped && echo wrote into the tree of archives
        $b touch /lower/usr/hello && echo changed a file of an archive
        $b chmod 777 /lower/usr/hello && echo changed a mode
        echo x >> /lower/usr/hello && echo wrote a file of an archive
        $b mount -o remount,rw /lower && echo x >> /lower/usr/hello && echo wrote after a mount
        echo 9999999 > /bounds && echo wrote the bounds
        $b cat /etc/shadow && echo read shadow
        $b ls -d /root /home /usr && echo saw folders of the host
        $b grep -q "do not tell" /proc/*/environ && echo saw the environment
        $b kill -9 1 && [ ! -d /proc/1 ] && echo killed the build
    """
    run = f"$b nsenter -m/proc/self/ns/mnt /build/root$b sh -c '{escaped}' 2>/dev/null"
    members = [Member("./usr/hello", b"hello")]
    log = build(members, f"b=/.configure/busybox; echo $({run}); exit 1").log
    assert "ended with 1: out\n" in log


def test_a_small_file_does_not_follow_a_package_s_link(build: Build, host: Host) -> None:
    members = [Member("./usr/share/out", type=tarfile.SYMTYPE, link="/tmp")]
    with pytest.raises(DependenciesError, match="share/out/x: a package has made a link of its folder"):
        build(members, files='(writeTextDir "share/out/x" "")')
    members = [Member("./usr/share/x", type=tarfile.SYMTYPE, link="/etc/passwd")]
    installed = build(members, files='(writeTextDir "share/x" "mine")')
    with host.cache.hold(installed.store_path) as tree:
        assert (tree / "usr/share/x").read_text() == "mine"
        assert not (tree / "usr/share/x").is_symlink()
    assert Path("/etc/passwd").read_text() != "mine"


def test_an_archive_that_was_changed_is_not_unpacked(
    host: Host, sandboxes: Sandboxes, tmp_path: Path
) -> None:
    settings = NixSettings(nix_root=host.settings.nix_root, cache_dir=tmp_path)
    pin = make_package_set(settings, {"good": deb([Member("./usr/good", b"good")])})
    (archive,) = tmp_path.glob("archives/*.deb")
    archive.write_bytes(archive.read_bytes()[:-2] + b"xx")
    cache = Cache(settings, SandboxRunner(sandboxes))
    with pytest.raises(CacheError, match="no sources of the package set"):  # to fetch it again
        host.loop.run(cache.install(Packages(("good",)), pin, BuildLimits(), print))


@pytest.mark.parametrize(
    "change",
    [
        "$b mv $out/written $out/away && $b ln -s SECRET $out/written",
        "$b mv $out $out.away && $b ln -s SECRET $out",
        "$b ln -sf /dev/zero $out/left",
        "$b ln -sf SECRET/file $out/left",
    ],
)
def test_what_a_build_leaves_is_not_followed_as_a_link(
    build: Build, host: Host, tmp_path: Path, change: str
) -> None:
    """The maintainer script waits outside of its chroot until the build is nearly over."""
    (tmp_path / "file").write_text("secret")
    script = f"""
        b=/build/root/.configure/busybox
        $b cp $b /build/kept
        b=/build/kept
        out=$(echo /nix/store/*-changes)
        {change.replace("SECRET", str(tmp_path))}
    """
    run = f"$b nsenter -m/proc/self/ns/mnt /build/root$b sh -c '{script}' 2>/dev/null"
    try:
        installed = build([Member("./usr/hello", b"hello")], f"b=/.configure/busybox; {run}")
    except (DependenciesError, CacheError):
        return
    with host.cache.hold(installed.store_path) as tree:
        assert "secret" not in "".join(
            file.read_text(errors="replace") for file in tree.rglob("*") if file.is_file()
        )


def test_names_that_are_no_text_are_files_as_others(build: Build, host: Host) -> None:
    name = b"./usr/lib/python3/dist-packages/\xff\n\x01.py".decode(errors="surrogateescape")
    installed = build([Member(name, b"x")])
    with host.cache.hold(installed.store_path) as tree:
        (odd,) = (tree / "usr/lib/python3/dist-packages").iterdir()
        assert os.fsencode(odd.name) == b"\xff\n\x01.py"


def test_a_link_of_an_archive_does_not_reach_others_that_are_unpacked(build: Build, host: Host) -> None:
    """Tar makes hard links last, and so could make them through links of the same archive."""
    members = [
        Member("./usr/bin/evil", b"#!/bin/sh\n"),
        Member("./usr/Y", type=tarfile.SYMTYPE, link="X"),
        Member("./usr/X", type=tarfile.SYMTYPE, link="/build"),
        Member("./usr/Y/planted", type=tarfile.LNKTYPE, link="usr/bin/evil"),
    ]
    with pytest.raises(DependenciesError, match="planted"):
        build(members)


def test_a_folder_of_a_thousand_levels_holds_up_nothing(build: Build, host: Host) -> None:
    deep = Member("./usr/" + "/".join(["a"] * 1010) + "/f", b"x")
    for _ in range(2):  # the second does not find what the first left
        with contextlib.suppress(DependenciesError):
            build([deep], "/.configure/busybox mv /usr /var/away", wall_time_s=10)
        host.loop.run(host.cache.make_room(_agree))


async def _agree(_: str) -> bool:
    return True


def test_maintainer_scripts_do_not_get_the_variables_of_the_build(build: Build, host: Host) -> None:
    installed = build([], "/.configure/busybox env > /etc/variables")
    with host.cache.hold(installed.store_path) as tree:
        assert "/nix/store" not in (tree / "etc/variables").read_text()
