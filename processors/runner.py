"""Commands of the Cache: expressions run in the sandbox, builds in a control group of their own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from nix.runner import BOX_BYTES, BuildLimits, Ran
from processors.sandbox import Bounds, Command, Completed, Rootfs, Sandboxes
from topics.request.limits import CompileLimits


class SandboxRunner:
    """Implementation of `nix.runner.Runner` by means of the sandboxes of this process."""

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
        cpu_time_s: float | None = None,
        box_bytes: int = BOX_BYTES,
        on_user: Callable[[int], None] | None = None,
    ) -> Ran:
        """Run an untrusted command in a sandbox: unprivileged, and without network.

        The host's /usr and `mounts` are mounted read-only. `cpu_time_s` bounds the CPU time, by default as
        `wall_time_s` does. `on_user` is called with the user id of the sandbox before the command starts.
        """
        limits = CompileLimits(
            wall_time_s=wall_time_s,
            cpu_time_s=wall_time_s if cpu_time_s is None else cpu_time_s,
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
        limits: BuildLimits,
        processes: int,
        stdin: bytes = b"",
    ) -> Ran:
        """Run a trusted command as root, under limits, without network, with only the variables in `env`."""
        bounds = Bounds(**asdict(limits))
        return _ran(
            await self._sandboxes.run_bounded(argv, env=env, bounds=bounds, processes=processes, stdin=stdin)
        )


def _ran(completed: Completed) -> Ran:
    return Ran(
        completed.stdout,
        completed.stderr,
        completed.exit_code,
        completed.signal,
        completed.limit_exceeded,
    )
