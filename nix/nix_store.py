"""The Nix store that holds the environments, `nix_root/nix/store`, apart from any other on the host."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from nix.contents import ENVIRONMENT_FORMAT, Contents, manifest
from nix.errors import CacheError, DependenciesError, EnvironmentNotFoundError, LimitError
from nix.runner import BuildLimits, Ran, Runner

DERIVATION = Path(__file__).with_name("environment.nix")
BUSYBOX = Path("/usr/bin/busybox")
"""Shell of the builds, from Debian's busybox-static."""
BUILD_FAILED = 100
"""Nix's exit code if a builder fails; all others are host errors."""
OUR_FAULTS = ("No space left on device", "archive is damaged")
BUILD_LIMITS = {
    "hit the limit environment_bytes": "environment_bytes",  # message of environment.sh
    "bytes of log output": "stderr_bytes",  # message of Nix
    "the build is not watched any more": "processes",  # environment.sh could not fork
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
"""Limits of a copy to or from the binary cache; 300 MiB take 5 s on a local disk."""
GARBAGE_LIMITS = BuildLimits(wall_time_s=3600.0, stdout_bytes=64 << 20, stderr_bytes=64 << 20)
"""Limits of garbage collection, which prints a line for each store path."""

BUSY, BUSY_TRIES, BUSY_PAUSE_S = b"db.sqlite' is busy", 5, 0.2
"""Nix waits for other users of its database, but fails at once if two open it at the same moment."""
WITHOUT_OTHER_PROCESSES = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Wrapper that hides other processes from garbage collection.

Garbage collection reads the open files of all processes, and fails if an untrusted one has a file open whose
path is too long. Every environment in use has a GC root, so that open files do not matter.
"""


@dataclass(frozen=True)
class Realised:
    """An environment that was just built, with the log of its build."""

    store_path: str
    log: str


class NixStore:
    """Runs the commands of one Nix store."""

    def __init__(self, root: Path, runner: Runner, environment_bytes: int) -> None:
        """Create the store below `root`; a build may write `environment_bytes` to disk."""
        self.root = root
        self._environment_bytes = environment_bytes
        self.roots = root / "nix/var/nix/gcroots/envicutor"
        """Folder of GC roots: a link to each installed environment, with the environment's name."""
        self._runner = runner

    def physical(self, store_path: str) -> Path:
        """Return the path of a store path on this host."""
        return self.root / store_path.removeprefix("/")

    async def realise(
        self,
        contents: Contents,
        archives: Path,
        work: Path,
        limits: BuildLimits,
        *,
        left_s: float,
        layer: str = "",
    ) -> Realised:
        """Build an environment from the archives in a folder, within the remaining `left_s` seconds.

        `layer` is the SHA-256 of the folder's `layer.tar`, unpacked below /usr/local; empty for none.
        A GC root in the folder `work`, which also gets the build's own files, keeps the environment.

        Raises:
            LimitError: the build hit a limit.
            DependenciesError: the build failed.
            CacheError: a host error.
        """
        listed, files, bounds = work / "archives", work / "files", work / "bounds"
        listed.write_text(manifest(contents.packages))
        _write_files(files, contents)
        bounds.write_text(f"{self._environment_bytes >> 10}\n")
        bounds.chmod(0o644)  # independent of the umask, since the build reads it as another user
        arguments = {
            "archives": str(listed),
            "files": str(files),
            "architecture": contents.architecture,
            "busybox": str(BUSYBOX),
            "format": str(ENVIRONMENT_FORMAT),
            "layer": layer,
        }
        options = [option for name, value in arguments.items() for option in ("--argstr", name, value)]
        command = ["nix-build", str(DERIVATION), *options, "--out-link", str(work / "result")]
        # The size limit is no input of the build, since it does not change the store path.
        mounted = {"sandbox-paths": f"/archives={archives} /bounds={bounds}"}
        ran = await self._nix(command, work, replace(limits, wall_time_s=left_s), mounted)
        log = ran.stderr.decode(errors="replace")
        if ran.exit_code != 0 or ran.limit_exceeded:
            raise self._explain(ran, log, limits)
        return Realised(ran.stdout.decode().strip(), NOISE.sub("", log))

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
        ran = await self._nix(
            ["nix-store", "--gc", "--quiet"], self.root, GARBAGE_LIMITS, wrapper=WITHOUT_OTHER_PROCESSES
        )
        if ran.exit_code != 0:
            raise CacheError(f"nix-store failed: {ran.stderr.decode(errors='replace')[-4000:]}")

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
    ) -> Ran:
        for _ in range(BUSY_TRIES):
            ran = await self._nix_once(command, work, limits, settings or {}, wrapper)
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
    ) -> Ran:
        program, *arguments = command
        return await self._runner.bounded(
            [*wrapper, program, "--store", f"local?root={self.root}", *arguments],
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": "/nonexistent",
                "TMPDIR": str(work),
                "NIX_CONF_DIR": "/nonexistent",
                "NIX_CONFIG": configuration(limits.stderr_bytes, settings),
            },
            limits=limits,
            processes=PROCESSES,
        )

    def _explain(self, ran: Ran, log: str, limits: BuildLimits) -> Exception:
        """Return the error of a failed build, by its cause: a limit, the dependencies, or the host."""
        limit = ran.limit_exceeded
        if ran.exit_code != 0:
            limit = limit or next((name for message, name in BUILD_LIMITS.items() if message in log), None)
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


def _complaint(ran: Ran) -> str:
    """Return the errors and warnings of Nix's output, or the limit or signal that ended it."""
    if ran.limit_exceeded:
        return f"it hit the limit {ran.limit_exceeded}"
    lines = [line for line in ran.stderr.decode(errors="replace").splitlines() if COMPLAINT.match(line)]
    return "; ".join(lines)[-1000:] or f"Nix ended with {ran.signal or ran.exit_code}"
