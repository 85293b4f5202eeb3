"""What is run, on what, and what came of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self

from processors.sandbox.gate import MayStart, at_once

NODE_MODULES = "usr/local/lib/node_modules"
"""Where npm's packages are. Whatever looks for them looks into /node_modules at last."""
MERGED_USR = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


class SandboxError(Exception):
    """Our fault or the host's, never the program's: run the stage again elsewhere."""


class BoxTooSmallError(Exception):
    """The files do not fit into the box that the limits allow: the submission's fault."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"the files exceed {limit}")
        self.limit = limit
        """`box_bytes` or `box_files`."""


@dataclass(frozen=True, slots=True)
class Rootfs:
    """What a program sees beside /box, /tmp, /dev and /proc, all of it read-only, nosuid, nodev."""

    mounts: Mapping[str, Path]
    """Target in the sandbox to source on the host; every user must be able to reach the source."""
    symlinks: Mapping[str, str]
    """Path in the sandbox to the text of the link."""

    @classmethod
    def of_environment(cls, tree: Path) -> Self:
        """Take an FHS tree that has everything below `usr`, `etc` and perhaps `var/lib`."""
        mounts = {"/usr": tree / "usr", "/etc": tree / "etc", "/var/lib": tree / "var" / "lib"}
        links = {f"/{name}": f"usr/{name}" for name in MERGED_USR} | {"/node_modules": NODE_MODULES}
        return cls(
            mounts={target: source for target, source in mounts.items() if source.is_dir()},
            symlinks={link: text for link, text in links.items() if (tree / text).is_dir()},
        )

    @classmethod
    def of_host_tools(cls, extra: Mapping[str, Path] = MappingProxyType({})) -> Self:
        """Take the host's own /usr and `extra` mounts, for commands of ours on foreign data."""
        host = [Path("/usr"), Path("/etc/ld.so.cache"), Path("/etc/alternatives")]
        links = [Path("/", name) for name in MERGED_USR if Path("/", name).is_symlink()]
        return cls(
            mounts={str(path): path for path in host if path.exists()} | dict(extra),
            symlinks={str(link): str(link.readlink()) for link in links},
        )


STREAMS: tuple[Literal["stdout"], Literal["stderr"]] = ("stdout", "stderr")

OnOutput = Callable[[Literal["stdout", "stderr"], bytes], None]
"""Told each piece that a program prints, as it is read; it must neither block nor raise."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run in a box; its working directory is /box."""

    argv: Sequence[str]
    """Looked up in the PATH of `env`; at least one, none with a NUL."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to PATH, HOME and LANG, which it may override."""
    stdin: bytes = b""
    on_output: OnOutput | None = None
    """Together it is told what `Completed` will have."""
    may_start: MayStart = at_once
    """Awaited while the sandbox is made; the program starts after it."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What a stage printed, how it ended, and what it cost."""

    stdout: bytes
    stderr: bytes
    exit_code: int | None
    """None if it was ended by a signal."""
    signal: str | None
    """A name such as SIGSEGV; None if it exited."""
    wall_time_s: float
    cpu_time_s: float
    """Of all processes of the stage together."""
    memory_bytes: int
    """Peak of all processes of the stage together, with tmpfs, kernel memory and page cache."""
    limit_exceeded: str | None
    """The first limit that was hit, a field name of RunLimits."""
    truncated: bool
    """Whether the program printed more than `stdout` or `stderr` hold."""
