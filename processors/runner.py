"""How the Cache runs commands: expressions in the sandbox, builds in a control group of their own."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nix.runner import BOX_BYTES, Ran
from processors.sandbox import Command, Completed, Rootfs, Sandboxes
from topics.request.limits import CompileLimits


class SandboxRunner:
    """`nix.runner.Runner` on our sandboxes."""

    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes

    async def sandboxed(
        self,
        argv: Sequence[str],
        *,
        mounts: Mapping[str, Path],
        files: Mapping[str, bytes],
        wall_time_s: float,
        memory_bytes: int,
        box_bytes: int = BOX_BYTES,
        on_user: Callable[[int], None] | None = None,
    ) -> Ran:
        """Run untrusted work: unprivileged, without network, with the host's /usr and `mounts` read-only."""
        limits = CompileLimits(
            wall_time_s=wall_time_s,
            cpu_time_s=wall_time_s,
            memory_bytes=memory_bytes,
            stdout_bytes=4 << 20,
            file_size_bytes=box_bytes,
            box_bytes=box_bytes,
        )
        async with self._sandboxes.box(files, limits) as box:
            if on_user:
                on_user(box.uid)
            rootfs = Rootfs.of_host_tools(mounts)
            return _ran(await box.run(Command(argv), rootfs, limits))

    async def bounded(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        wall_time_s: float,
        memory_bytes: int,
        stdout_bytes: int,
        stderr_bytes: int,
        processes: int,
    ) -> Ran:
        """Run a trusted command as root, bounded, without network and with no environment but `env`."""
        return _ran(
            await self._sandboxes.run_bounded(
                argv,
                env=env,
                wall_time_s=wall_time_s,
                memory_bytes=memory_bytes,
                stdout_bytes=stdout_bytes,
                stderr_bytes=stderr_bytes,
                processes=processes,
            )
        )


def _ran(completed: Completed) -> Ran:
    return Ran(
        completed.stdout,
        completed.stderr,
        completed.exit_code,
        completed.signal,
        completed.limit_exceeded,
    )
