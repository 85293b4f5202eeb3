"""Values of the sandbox: command, root file system, result and errors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self

from processors.sandbox.gate import MayStart, at_once

NODE_MODULES = "usr/local/lib/node_modules"
"""Folder of npm's packages. Node.js finds them because its search ends in /node_modules, a link to this
folder."""
MERGED_USR = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Folders below /usr that have a link of the same name in /."""


class SandboxError(Exception):
    """Error of Envicutor or of the host, never of the program: the stage may be run again elsewhere."""


class BoxTooSmallError(Exception):
    """The files of a submission do not fit into the box that its limits allow."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"the files exceed {limit}")
        self.limit = limit
        """Limit that was exceeded: `box_bytes` or `box_files`."""


@dataclass(frozen=True, slots=True)
class Rootfs:
    """Files that a program sees beside /box, /tmp, /dev and /proc; mounted read-only, nosuid and nodev."""

    mounts: Mapping[str, Path]
    """Source path on the host by target path in the sandbox; every user must be able to reach the source."""
    symlinks: Mapping[str, str]
    """Target of each symbolic link by its path in the sandbox."""

    @classmethod
    def of_environment(cls, tree: Path) -> Self:
        """Return the root of an environment, an FHS tree with `usr`, `etc` and perhaps `var/lib`."""
        mounts = {"/usr": tree / "usr", "/etc": tree / "etc", "/var/lib": tree / "var" / "lib"}
        links = {f"/{name}": f"usr/{name}" for name in MERGED_USR} | {"/node_modules": NODE_MODULES}
        return cls(
            mounts={target: source for target, source in mounts.items() if source.is_dir()},
            symlinks={link: text for link, text in links.items() if (tree / text).is_dir()},
        )

    @classmethod
    def of_host_tools(cls, extra: Mapping[str, Path] = MappingProxyType({})) -> Self:
        """Return a root of the host's own /usr and `extra` mounts, for trusted commands on untrusted data."""
        host = [Path("/usr"), Path("/etc/ld.so.cache"), Path("/etc/alternatives")]
        links = [Path("/", name) for name in MERGED_USR if Path("/", name).is_symlink()]
        return cls(
            mounts={str(path): path for path in host if path.exists()} | dict(extra),
            symlinks={str(link): str(link.readlink()) for link in links},
        )


STREAMS: tuple[Literal["stdout"], Literal["stderr"]] = ("stdout", "stderr")
"""Output streams of a program, as `OnOutput` names them."""

OnOutput = Callable[[Literal["stdout", "stderr"], bytes], None]
"""Callback for each chunk of a program's output, as it is read; it must neither block nor raise."""


@dataclass(frozen=True, slots=True)
class Command:
    """Program to run in a box, with /box as working directory."""

    argv: Sequence[str]
    """Program, looked up in the PATH of `env`, and its arguments; none has a NUL."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables in addition to PATH, HOME and LANG, which they may override."""
    stdin: bytes = b""
    """Content of standard input."""
    on_output: OnOutput | None = None
    """Callback for output; all chunks of a stream together are the output in `Completed`."""
    may_start: MayStart = at_once
    """Awaited while the sandbox is made; the program starts when it returns."""


@dataclass(frozen=True, slots=True)
class Completed:
    """Output, end and resource usage of a stage."""

    stdout: bytes
    """The first `stdout_bytes` of the output at most."""
    stderr: bytes
    """The first `stderr_bytes` of the output at most."""
    exit_code: int | None
    """Exit code, or None if a signal ended the program."""
    signal: str | None
    """Name of the signal that ended the program, such as SIGSEGV; None if it exited."""
    wall_time_s: float
    """Time from the start of the program to its end."""
    cpu_time_s: float
    """CPU time of all processes of the stage, and of this thread for its output and uncounted memory."""
    memory_bytes: int
    """Peak memory of all processes of the stage together, with tmpfs, kernel memory and page cache."""
    limit_exceeded: str | None
    """First limit that was hit, a field name of RunLimits; None if no limit was hit."""
    truncated: bool
    """True if `stdout` or `stderr` lacks the rest of the output."""

    @property
    def ok(self) -> bool:
        """Whether the program ended by itself, with exit code 0 and within its limits."""
        return self.exit_code == 0 and self.limit_exceeded is None
