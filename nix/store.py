"""The Nix store that holds the environments: `nix_root/nix/store`, beside any other on the host."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nix.contents import Contents, manifest
from nix.dependencies import SYSTEM
from nix.errors import CacheError, DependenciesError, LimitError
from nix.runner import Ran, Runner

DERIVATION = Path(__file__).with_name("environment.nix")
BUSYBOX = Path("/usr/bin/busybox")
"""Debian's busybox-static."""
BUILD_FAILED = 100
"""Nix's exit code when a builder fails; all others are ours."""
OUR_FAULTS = ("No space left on device", "the archive is damaged")
BUILD_LIMITS = {
    "hit the limit environment_bytes": "environment_bytes",  # environment.sh says so
    "bytes of log output": "stderr_bytes",  # Nix says so
    "the build is not watched any more": "processes",  # environment.sh could not fork
}
BOUNDS = "bounds"
"""A file of a build's folder: how many KiB it may write."""
PROCESSES = 1024
"""Of one command of ours, as Nix unpacks on all cores."""
NOISE = re.compile(
    r"^(this derivation will be built:|  /nix/store/.*\.drv|building '.*\.drv'\.\.\.)\n", re.MULTILINE
)


@dataclass(frozen=True)
class BuildLimits:
    """What evaluating and building one set of dependencies may use."""

    wall_time_s: float = 300.0
    memory_bytes: int = 2 << 30
    stdout_bytes: int = 1 << 20
    stderr_bytes: int = 1 << 20
    """Of this the build's log may take all."""


GARBAGE_LIMITS = BuildLimits(wall_time_s=3600.0, stdout_bytes=64 << 20, stderr_bytes=64 << 20)
"""It prints a line for each path."""

ALONE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Garbage collection reads what files all processes have open, and fails where one that nobody trusts has one
whose path is too long. Nobody uses an environment without a root, so it need not see them."""


@dataclass(frozen=True)
class Realised:
    """An environment in the store."""

    store_path: str
    log: str


class Store:
    """Commands of one Nix store."""

    def __init__(self, root: Path, archives: Path, runner: Runner, environment_bytes: int) -> None:
        """`environment_bytes` is what a build may write to disk."""
        self.root = root
        self._environment_bytes = environment_bytes
        self.roots = root / "nix/var/nix/gcroots/envicutor"
        """A link for each environment that garbage collection must leave alone, named like it."""
        self._archives = archives
        self._runner = runner

    def physical(self, store_path: str) -> Path:
        """Return where a store path is on this host."""
        return self.root / store_path.removeprefix("/")

    async def realise(self, contents: Contents, work: Path, limits: BuildLimits) -> Realised:
        """Build an environment.

        A link in the folder `work`, which also gets the build's own files, keeps it from garbage collection.
        Raises DependenciesError if the build fails, LimitError if it hits a limit, CacheError if Nix fails.
        """
        archives, files = work / "archives", work / "files"
        archives.write_text(manifest(contents.packages))
        _write_files(files, contents)
        (work / BOUNDS).write_text(f"{self._environment_bytes >> 10}\n")
        arguments = {
            "archives": str(archives),
            "files": str(files),
            "architecture": contents.architecture,
            "system": SYSTEM,
            "busybox": str(BUSYBOX),
        }
        options = [option for name, value in arguments.items() for option in ("--argstr", name, value)]
        command = ["nix-build", str(DERIVATION), *options, "--out-link", str(work / "result")]
        ran = await self._nix(command, work, limits)
        log = ran.stderr.decode(errors="replace")
        if ran.exit_code != 0 or ran.limit_exceeded:
            raise self._explain(ran, log, limits)
        return Realised(ran.stdout.decode().strip(), NOISE.sub("", log))

    async def size_bytes(self, store_path: str, work: Path, limits: BuildLimits) -> int:
        """Return the size of a store path."""
        ran = await self._nix(["nix-store", "--query", "--size", store_path], work, limits)
        if ran.exit_code != 0:
            raise CacheError(f"nix-store failed: {ran.stderr.decode(errors='replace')}")
        return int(ran.stdout)

    async def collect_garbage(self) -> None:
        """Delete what no root keeps. Builds that go on meanwhile are safe."""
        ran = await self._nix(["nix-store", "--gc", "--quiet"], self.root, GARBAGE_LIMITS, ALONE)
        if ran.exit_code != 0:
            raise CacheError(f"nix-store failed: {ran.stderr.decode(errors='replace')[-4000:]}")

    async def _nix(
        self, command: Sequence[str], work: Path, limits: BuildLimits, wrapper: Sequence[str] = ()
    ) -> Ran:
        program, *arguments = command
        return await self._runner.bounded(
            [*wrapper, program, "--store", f"local?root={self.root}", *arguments],
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": "/nonexistent",
                "TMPDIR": str(work),
                "NIX_CONF_DIR": "/nonexistent",
                "NIX_CONFIG": configuration(self._archives, work / BOUNDS, limits.stderr_bytes),
            },
            wall_time_s=limits.wall_time_s,
            memory_bytes=limits.memory_bytes,
            stdout_bytes=limits.stdout_bytes,
            stderr_bytes=limits.stderr_bytes,
            processes=PROCESSES,
        )

    def _explain(self, ran: Ran, log: str, limits: BuildLimits) -> Exception:
        """Tell whose fault a failed build is."""
        limit = ran.limit_exceeded
        if ran.exit_code != 0:
            limit = limit or next((name for said, name in BUILD_LIMITS.items() if said in log), None)
        if limit:
            values = vars(limits) | {"environment_bytes": self._environment_bytes, "processes": PROCESSES}
            return LimitError(f"building hit the limit {limit} = {values[limit]}")
        if ran.exit_code == BUILD_FAILED and not any(fault in log for fault in OUR_FAULTS):
            return DependenciesError(f"building the environment failed:\n{NOISE.sub('', log)[-4000:]}")
        return CacheError(f"nix-build ended with {ran.signal or ran.exit_code}:\n{log[-4000:]}")


def _write_files(folder: Path, contents: Contents) -> None:
    folder.mkdir()
    for path, file in contents.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(file.text)
        (folder / path).chmod(0o755 if file.executable else 0o644)


def configuration(archives: Path, bounds: Path, log_bytes: int) -> str:
    """Return Nix's whole configuration: nothing of the host's counts.

    The file `bounds` is no input of a build, since it does not change what comes out.
    """
    values = {
        "build-users-group": "nixbld",
        "sandbox": "true",
        "sandbox-fallback": "false",
        "sandbox-paths": f"/archives={archives} /bounds={bounds}",
        "substituters": "",
        "auto-optimise-store": "true",
        "max-jobs": "1",
        "cores": "0",
        "build-poll-interval": "1",
        "max-build-log-size": str(log_bytes),
        "keep-derivations": "false",
        "allow-import-from-derivation": "false",
    }
    return "".join(f"{name} = {value}\n" for name, value in values.items())
