"""Nix stores of this program, apart from any other on the host: of environments, and of unpacked archives.

The store of environments is `nix_root/nix/store`, that of unpacked archives `cache_dir/trees/nix/store`.
"""

import asyncio
import hashlib
import re
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from nix import locks
from nix.deadline import Deadline
from nix.errors import CacheError, DependenciesError, EnvironmentNotFoundError, LimitError
from nix.runner import BuildLimits, Ran, Runner

BUILDER = Path(__file__).with_name("builder")
"""Folder of the derivations, which are the only ones that are ever realised; all of their inputs are ours."""
BUSYBOX = Path("/usr/bin/busybox")
"""Shell of the builds, from Debian's busybox-static."""
BUILD_FAILED = 100
"""Nix's exit code if a builder fails; all others are host errors."""
HOST_FAULT = "failed with exit code 75"
"""End of the last line of Nix's log if the host is at fault: `HOST_FAULT` of `builder/common.sh`."""
REFUSALS = ("is not allowed to refer to", "has an unsupported type", "File name too long")
"""Parts of Nix's own last line if it refuses what a build wrote."""
FULL_DISK = "No space left on device"
BUILD_LIMITS = {
    "hit the limit environment_bytes": "environment_bytes",  # message of common.sh
    "bytes of log output": "stderr_bytes",  # message of Nix
    "the build is not watched any more": "processes",  # common.sh could not fork
}
PROCESSES = 1024
"""Limit of processes of one Nix command, which unpacks on all cores."""
NOISE = re.compile(
    r"^(this derivation will be built:|  /nix/store/.*\.drv|building '.*\.drv'\.\.\.)\n", re.MULTILINE
)
COMPLAINT = re.compile(r"(error|warning): |don't know how")
"""Lines of Nix's output that give the reason of a failed copy, among progress lines."""


QUERY_LIMITS = BuildLimits()
"""Limits of queries, independent of the user's: a query must not fail a build that kept its limits."""
COPY_LIMITS = BuildLimits(wall_time_s=900.0)
"""Limits of reading or copying a whole environment; 300 MiB take 5 s on a local disk."""
GARBAGE_LIMITS = BuildLimits(wall_time_s=3600.0, stdout_bytes=64 << 20, stderr_bytes=64 << 20)
"""Limits of garbage collection, which prints a line for each store path."""

NOT_VALID = b"is not valid"
"""Part of Nix's message about a store path that is not in its database."""
BUSY, BUSY_TRIES, BUSY_PAUSE_S = b"db.sqlite' is busy", 5, 0.2
"""Nix waits for other users of its database, but fails at once if two open it at the same moment."""
WITHOUT_OTHER_PROCESSES = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Wrapper that hides other processes from garbage collection.

Garbage collection reads the open files of all processes, and fails if an untrusted one has a file open whose
path is too long. Every environment in use has a GC root, so that open files do not matter.
"""


@dataclass(frozen=True)
class Built:
    """The outputs of a derivation that was just built, with the log of its build."""

    store_paths: list[str]
    log: str


class NixStore:
    """Runs the commands of one Nix store."""

    def __init__(self, root: Path, runner: Runner, environment_bytes: int, *, optimise: bool = True) -> None:
        """Create the store below `root`; a build may write `environment_bytes` to disk.

        With `optimise`, Nix keeps equal files of its store paths once.
        """
        self.root = root
        self.environment_bytes = environment_bytes
        self._optimise = optimise
        self.roots = root / "nix/var/nix/gcroots/envicutor"
        """Folder of GC roots: a link to each installed environment or tree, with a name for it."""
        self._runner = runner
        self._collecting = root / "locks/garbage.lock"
        """Exclusive during garbage collection."""
        for folder in (self.roots, self._collecting.parent):
            folder.mkdir(parents=True, exist_ok=True)

    def physical(self, store_path: str) -> Path:
        """Return the path of a store path on this host."""
        return self.root / store_path.removeprefix("/")

    async def build(
        self,
        derivation: str,
        arguments: Mapping[str, str],
        mounts: Mapping[str, Path],
        work: Path,
        deadline: Deadline,
    ) -> Built:
        """Build the derivations of a file of the folder `builder`, with `mounts` at paths of their sandbox.

        GC roots in the folder `work`, which also gets the build's own files, keep the outputs.

        Raises:
            LimitError: the build hit a limit.
            DependenciesError: the build failed.
            CacheError: a host error.
        """
        limit = work / "bounds"
        limit.write_text(f"{self.environment_bytes >> 10}\n")
        limit.chmod(0o644)  # independent of the umask, since the build reads it as another user
        given = {"busybox": str(BUSYBOX), **arguments}
        options = [option for name, value in given.items() for option in ("--argstr", name, value)]
        result = work / f"result-{derivation}"
        command = ["nix-build", str(BUILDER / derivation), *options, "--out-link", str(result)]
        # What is mounted is no input of the build; the size limit does not change what it makes.
        paths = {"/bounds": limit, **mounts}
        mounted = {"sandbox-paths": " ".join(f"{inside}={path}" for inside, path in paths.items())}
        ran = await self._nix(command, work, deadline.limits(), mounted)
        log = ran.stderr.decode(errors="replace")
        if ran.exit_code != 0 or ran.limit_exceeded:
            raise self._explain(ran, log, deadline.given)
        store_paths = ran.stdout.decode().split()
        if any(self.physical(store_path).is_symlink() for store_path in store_paths):
            raise DependenciesError("the packages made the output of their build a link")
        return Built(store_paths, NOISE.sub("", log))

    async def register(self, tree: Path, store_path: str, work: Path) -> int:
        """Make a sealed tree a valid path of this store, without references; return its size in bytes.

        The tree is moved. If the path is valid already, it stays, since programs may use it. Remains of a
        process that was killed here are moved into `work`. Call this within `uncollected`, and give the path
        a GC root there. The caller holds a lock of the path, so that no other process adds it meanwhile.

        Raises:
            CacheError: Nix failed.
        """
        place = self.physical(store_path)
        if place.exists():
            if await self._is_valid(store_path, work):
                return await self.size_bytes(store_path, work)
            await asyncio.to_thread(place.rename, work / "remains")
        configured = configuration(COPY_LIMITS.stderr_bytes, {})
        digest, size_bytes = await _nar_digest(tree, _environment(work, configured))
        await asyncio.to_thread(tree.rename, place)
        info = f"{store_path}\n{digest}\n{size_bytes}\n\n0\n"
        ran = await self._nix(["nix-store", "--load-db"], work, QUERY_LIMITS, stdin=info.encode())
        if ran.exit_code != 0:
            raise CacheError(f"nix-store failed: {_complaint(ran)}")
        return size_bytes

    @asynccontextmanager
    async def uncollected(self) -> AsyncIterator[None]:
        """Hold off garbage collection, which would remove a path that is not valid yet or has no root yet."""
        async with locks.shared(self._collecting):
            yield

    async def _is_valid(self, store_path: str, work: Path) -> bool:
        """Return whether Nix has a store path in its database.

        Raises:
            CacheError: Nix did not answer, for example because it hit a limit.
        """
        ran = await self._nix(["nix-store", "--check-validity", store_path], work, QUERY_LIMITS)
        if ran.exit_code == 1 and NOT_VALID in ran.stderr and not ran.limit_exceeded:
            return False
        if ran.exit_code != 0:
            raise CacheError(f"{store_path} could not be looked up: {_complaint(ran)}")
        return True

    async def size_bytes(self, store_path: str, work: Path) -> int:
        """Return the size of a store path in bytes.

        Raises:
            CacheError: Nix failed.
        """
        ran = await self._nix(["nix-store", "--query", "--size", store_path], work, QUERY_LIMITS)
        if ran.exit_code != 0:
            raise CacheError(f"nix-store failed: {_complaint(ran)}")
        return int(ran.stdout)

    async def collect_garbage(self) -> None:
        """Delete store paths that no GC root keeps; concurrent builds are safe.

        Raises:
            CacheError: Nix failed.
        """
        command = ["nix-store", "--gc", "--quiet"]
        async with locks.exclusive(self._collecting):
            ran = await self._nix(command, self.root, GARBAGE_LIMITS, wrapper=WITHOUT_OTHER_PROCESSES)
        if ran.exit_code != 0:
            raise CacheError(f"nix-store failed: {ran.stderr.decode(errors='replace')[-4000:]}")

    async def delete(self, store_path: str) -> None:
        """Delete a store path that no GC root keeps; its files may be gone already.

        Raises:
            CacheError: Nix failed.
        """
        command = ["nix-store", "--delete", store_path]
        ran = await self._nix(command, self.root, GARBAGE_LIMITS, wrapper=WITHOUT_OTHER_PROCESSES)
        if ran.exit_code != 0:
            raise CacheError(f"{store_path} could not be deleted: {_complaint(ran)}")

    async def copy_to(self, folder: Path, secret_key_file: Path, store_path: str, work: Path) -> None:
        """Sign an environment and copy it into a binary cache.

        Raises:
            CacheError: Nix failed.
        """
        # The default, xz, takes fifty times as long.
        url = f"file://{folder}?compression=zstd&secret-key={quote(str(secret_key_file))}"
        ran = await self._nix(["nix", "copy", "--to", url, store_path], work, COPY_LIMITS)
        if ran.exit_code != 0:
            raise CacheError(f"{store_path} could not be published: {_complaint(ran)}")

    async def copy_from(self, folder: Path, public_key: str, store_path: str, work: Path) -> None:
        """Copy an environment from a binary cache, if it is intact and signed with `public_key`.

        A GC root in the folder `work` keeps it from garbage collection.

        Raises:
            EnvironmentNotFoundError: it is not in the binary cache, or its signature is not valid.
            CacheError: a host error, such as a full disk.
        """
        command = ["nix-store", "--realise", store_path, "--add-root", str(work / "result")]
        settings = {"substituters": f"file://{folder}", "trusted-public-keys": public_key}
        ran = await self._nix(command, work, COPY_LIMITS, settings)
        if ran.limit_exceeded or b"No space left on device" in ran.stderr:
            raise CacheError(f"{store_path} could not be fetched: {_complaint(ran)}")
        if ran.exit_code != 0:
            raise EnvironmentNotFoundError(f"{store_path} could not be fetched: {_complaint(ran)}")

    async def _nix(
        self,
        command: Sequence[str],
        work: Path,
        limits: BuildLimits,
        settings: Mapping[str, str] | None = None,
        *,
        wrapper: Sequence[str] = (),
        stdin: bytes = b"",
    ) -> Ran:
        for _ in range(BUSY_TRIES):
            ran = await self._nix_once(command, work, limits, settings or {}, wrapper, stdin)
            if ran.exit_code != 1 or BUSY not in ran.stderr:
                break
            await asyncio.sleep(BUSY_PAUSE_S)
        return ran

    async def _nix_once(
        self,
        command: Sequence[str],
        work: Path,
        limits: BuildLimits,
        settings: Mapping[str, str],
        wrapper: Sequence[str],
        stdin: bytes,
    ) -> Ran:
        own = {"auto-optimise-store": str(self._optimise).lower()}
        program, *arguments = command
        return await self._runner.bounded(
            [*wrapper, program, "--store", f"local?root={self.root}", *arguments],
            env=_environment(work, configuration(limits.stderr_bytes, {**own, **settings})),
            limits=limits,
            processes=PROCESSES,
            stdin=stdin,
        )

    def _explain(self, ran: Ran, log: str, limits: BuildLimits) -> Exception:
        """Return the error of a failed build, by its cause: a limit, the dependencies, or the host."""
        limit = ran.limit_exceeded
        if ran.exit_code != 0:
            limit = limit or next((name for message, name in BUILD_LIMITS.items() if message in log), None)
        if limit:
            values = vars(limits) | {"environment_bytes": self.environment_bytes, "processes": PROCESSES}
            return LimitError(f"building hit the limit {limit} = {values[limit]}")
        if any(refusal in log.rstrip().rpartition("\n")[2] for refusal in REFUSALS):
            return DependenciesError(f"the packages made what a store path cannot be:\n{log[-4000:]}")
        if ran.exit_code == BUILD_FAILED and not _host_is_at_fault(log):
            return DependenciesError(f"building the environment failed:\n{NOISE.sub('', log)[-4000:]}")
        return CacheError(f"nix-build ended with {ran.signal or ran.exit_code}:\n{log[-4000:]}")


async def _nar_digest(tree: Path, environment: Mapping[str, str]) -> tuple[str, int]:
    """Return the SHA-256 of a tree in Nix's archive format, hexadecimal, and the size of that archive.

    Raises:
        CacheError: Nix failed or took too long.
    """
    command = ["nix-store", "--dump", str(tree)]
    dump = subprocess.Popen(  # noqa: ASYNC220 - to start it takes a millisecond, and a thread reads it
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment
    )
    try:
        async with asyncio.timeout(COPY_LIMITS.wall_time_s):
            return await asyncio.to_thread(_digest, dump)
    except TimeoutError as error:
        raise CacheError(f"nix-store --dump took longer than {COPY_LIMITS.wall_time_s:g} s") from error
    finally:
        dump.kill()  # after a cancellation the thread still reads


def _digest(dump: subprocess.Popen[bytes]) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    with dump:
        assert dump.stdout
        while block := dump.stdout.read(1 << 20):
            digest.update(block)
            size_bytes += len(block)
    if dump.returncode != 0:
        raise CacheError(f"nix-store --dump ended with {dump.returncode}")
    return digest.hexdigest(), size_bytes


def _environment(work: Path, configured: str) -> dict[str, str]:
    """Return the variables of Nix's commands, with nothing of this process's own."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "TMPDIR": str(work),
        "NIX_CONF_DIR": "/nonexistent",
        "NIX_CONFIG": configured,
    }


def configuration(log_bytes: int, settings: Mapping[str, str]) -> str:
    """Return Nix's whole configuration, including `settings`; the host's own is ignored."""
    values = {
        "build-users-group": "nixbld",
        "sandbox": "true",
        "sandbox-fallback": "false",
        "sandbox-paths": "",
        "substituters": "",
        "require-sigs": "true",
        "trusted-public-keys": "",
        "experimental-features": "nix-command",
        "auto-optimise-store": "true",
        "max-jobs": "1",
        "cores": "0",
        "build-poll-interval": "1",
        "max-build-log-size": str(log_bytes),
        "keep-derivations": "false",
        "allow-import-from-derivation": "false",
    }
    return "".join(f"{name} = {value}\n" for name, value in {**values, **settings}.items())


def _host_is_at_fault(log: str) -> bool:
    """Return whether a build failed because of the host. Packages write all of the log but its last line."""
    return FULL_DISK in log or log.rstrip().endswith(HOST_FAULT)


def _complaint(ran: Ran) -> str:
    """Return the errors and warnings of Nix's output, or the limit or signal that ended it."""
    if ran.limit_exceeded:
        return f"it hit the limit {ran.limit_exceeded}"
    lines = [line for line in ran.stderr.decode(errors="replace").splitlines() if COMPLAINT.match(line)]
    return "; ".join(lines)[-1000:] or f"Nix ended with {ran.signal or ran.exit_code}"
