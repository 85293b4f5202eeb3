"""The sandboxes of one worker process."""

import asyncio
import itertools
import os
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from processors.sandbox import capabilities, cgroups, inherited, launcher, mounts, seccomp
from processors.sandbox.boxes import Box, place_to_mount
from processors.sandbox.cgroups import Group, GroupLimits, share
from processors.sandbox.gate import gate
from processors.sandbox.model import Command, Completed, Rootfs, SandboxError
from processors.sandbox.native import root_orders, sandbox_command
from processors.sandbox.outcome import completed
from processors.sandbox.settings import SandboxSettings
from processors.sandbox.stage import Stage, see_through
from processors.sandbox.uncounted import Uncounted
from processors.sandbox.user_ids import UserIds
from processors.sandbox.verdict import Bounds
from processors.sandbox.workplace import Workplace
from topics.limits import RunLimits

TRIALS: Sequence[tuple[Sequence[str], Mapping[str, int], str | None]] = (
    (["true"], {}, None),
    (["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"], {"memory_bytes": 16 << 20}, "memory_bytes"),
    (["timeout", "9", "true"], {"processes": 1}, "processes"),
)
"""Commands, limits, and which of them must end it. Time and output are watched by ourselves."""
WRITE_OOM_SCORE = "echo 1000 > /proc/self/oom_score_adj"
"""A script that must fail. It writes the present value. A program that may do that may also lower the value
if the worker lacks CAP_SYS_RESOURCE."""
REMOVE_S = 20.0
REMOVE_AGAIN_S = 0.002


class Sandboxes:
    """One per worker process; all methods belong to the thread of its event loop."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._numbers = itertools.count()
        self._undying: dict[int, Group] = {}
        """Users of boxes whose processes could not be killed, and where these are."""
        self._spare_group: Group | None = None
        """For the next stage: made while nobody waits."""
        self._used_groups: defaultdict[int, list[Group]] = defaultdict(list)
        """Those of stages that are over, by user, who gets no other box before they are removed."""
        self._uncounted = Uncounted()
        self._undo = ExitStack()

    async def start(self) -> None:
        """Check and prepare the host, and clean up after dead workers; SandboxError names what is missing."""
        if os.geteuid() != 0:
            raise SandboxError("mounts, control groups and user ids need root: start the worker as root")
        check_memory(self._settings.total_memory_bytes, share.memory_limit())
        await asyncio.to_thread(capabilities.check, capabilities.FOR_SANDBOXES)
        inherited.raise_limits()
        with ExitStack() as undo:
            self._launcher = await asyncio.to_thread(launcher.build_launcher, self._settings.cache_dir)
            self._seccomp = seccomp.make_filter()
            undo.callback(os.close, self._seccomp)
            self._workplace = await asyncio.to_thread(Workplace.claim, self._settings.state_dir)
            undo.callback(self._workplace.leave)
            ids = await asyncio.to_thread(UserIds.claim, self._settings, self._workplace.number)
            undo.callback(ids.release)
            self._free_uids = list(ids.uids)
            self._cpus = share.cpus()
            self._cgroups = cgroups.locate(f"envicutor-{secrets.token_hex(6)}")
            undo.callback(self._cgroups.worker.leave)  # the groups themselves go when the place is swept
            self._enter_cgroups()
            self._server = launcher.LauncherServer(self._launcher)
            undo.callback(self._server.close)
            self._dev = self._workplace.folder / "dev"
            mounts.make_devices(self._dev)
            self._boxes = self._workplace.folder / "boxes"
            mounts.make_folder_for_boxes(self._boxes)
            await self._try()
            self._undo = undo.pop_all()

    async def close(self) -> None:
        """Remove what `start` made; boxes must be closed before."""
        self._undo.close()

    @property
    def total_memory_bytes(self) -> int:
        """Memory that all stages may have together, and so the most that one stage can have."""
        return self._settings.total_memory_bytes

    def _enter_cgroups(self) -> None:
        self._workplace.note_groups(self._cgroups.paths())
        try:
            self._cgroups.make(GroupLimits(self._settings.total_memory_bytes, self._settings.total_processes))
            self._cgroups.worker.enter()
        except OSError as error:
            raise SandboxError(f"control groups cannot be made: {error}") from error

    async def _try(self) -> None:
        """Run what must succeed and what must not, so that what the host refuses is known before work is."""
        limits = RunLimits()
        async with self.box({}, limits) as box, box.fork(limits) as fork:
            for argv, changes, limit in TRIALS:
                tried = await fork.run(Command(argv), Rootfs.of_host_tools(), limits.replace(**changes))
                if tried.limit_exceeded != limit or (limit is None and tried.exit_code != 0):
                    raise SandboxError(
                        f"`{' '.join(argv)}` was to be ended by the limit {limit}, but ended with exit code "
                        f"{tried.exit_code}, signal {tried.signal}, limit {tried.limit_exceeded}: "
                        f"{tried.stderr[:500]!r}"
                    )
            wrote = await fork.run(Command(["bash", "-c", WRITE_OOM_SCORE]), Rootfs.of_host_tools(), limits)
            if wrote.exit_code == 0:
                raise SandboxError(
                    "a program can change its oom_score_adj, so that a machine that is out of memory kills "
                    "other processes first: /proc is not read-only in the sandbox"
                )

    @asynccontextmanager
    async def box(self, files: Mapping[str, bytes], limits: RunLimits) -> AsyncIterator[Box]:
        """A box holding `files` (relative paths to contents); BoxTooSmallError if they do not fit."""
        self._free_uids += self._uids_of_the_dead()
        if not self._free_uids:
            raise SandboxError(f"all {self._settings.boxes} boxes are in use")
        uid = self._free_uids.pop(0)
        box = Box(self._boxes / str(next(self._numbers)), uid, self._run)
        try:
            async with place_to_mount(box.path):
                mounts.mount_box(box.path, uid, limits.box_bytes, limits.box_files)
                await box.write(files)
                yield box
        finally:
            await see_through(self._free(uid))

    async def _free(self, uid: int) -> None:
        """Let another box have the user, once nothing of this one is left."""
        groups = self._used_groups.pop(uid, [])
        tried = await asyncio.gather(*(self._let_go(group, uid) for group in groups), return_exceptions=True)
        if uid not in self._undying:
            self._free_uids.append(uid)  # last in the queue: used again as late as possible
        for error in filter(None, tried):
            raise error

    def _uids_of_the_dead(self) -> list[int]:
        """Forget, and return, users whose processes were given up and are gone by now."""
        dead = [uid for uid, group in self._undying.items() if not group.pids()]
        for uid in dead:
            with suppress(OSError):  # else it goes with the place
                self._undying.pop(uid).remove()
        return dead

    async def run_bounded(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        wall_time_s: float,
        memory_bytes: int,
        stdout_bytes: int,
        stderr_bytes: int,
        processes: int,
        cwd: Path | None = None,
        stdin: bytes = b"",
    ) -> Completed:
        """Run a command of ours as root on the host: bounded, without network, with no environment but `env`.

        `limit_exceeded` is one of the bounds. Cancelling kills it and all of its descendants. Raises
        SandboxError if it could not be started.
        """
        bounds = Bounds(wall_time_s, memory_bytes, stdout_bytes, stderr_bytes)
        async with self._group(GroupLimits(memory_bytes, processes)) as group:
            launched = launcher.launch(
                self._server,
                ["bounded", str(os.getpid())],
                lambda descriptors: launcher.orders_for_host(argv, env, descriptors, cwd or Path("/")),
                stdin=stdin,
                groups=group.join_files(),
            )
            stage = Stage(launched, group, bounds)
            report = await stage.end()
            if report.wait_status is None:
                report = replace(report, wait_status=stage.exit_status)
            return completed(stage, report, group, bounds, full=None)

    async def _run(self, box: Box, command: Command, rootfs: Rootfs, limits: RunLimits) -> Completed:
        bounds = Bounds(
            limits.wall_time_s,
            limits.memory_bytes,
            limits.stdout_bytes,
            limits.stderr_bytes,
            limits.cpu_time_s,
            limits.cpus,
        )
        cpus = min(limits.cpus, self._cpus)  # version 1 refuses more than a group above may have
        group_limits = GroupLimits(limits.memory_bytes, limits.processes, cpus)
        async with self._group(group_limits, box.uid) as group, gate(command.may_start) as at:
            root = root_orders(rootfs, self._dev, box.path)
            launched = launcher.launch(
                self._server,
                sandbox_command(box.uid),
                lambda descriptors: launcher.orders_for_box(
                    command.argv, command.env, limits, descriptors, root
                ),
                stdin=command.stdin,
                groups=group.join_files(),
                passed=[self._seccomp, at.descriptor],
                owner=box.uid,
            )
            stage = Stage(launched, group, bounds, command.on_output, at, self._uncounted)
            report = await stage.end()
            return completed(stage, report, group, bounds, box.full())

    @asynccontextmanager
    async def _group(self, limits: GroupLimits, uid: int | None = None) -> AsyncIterator[Group]:
        try:
            group = self._spare_group or self._make_group()
        except OSError as error:
            raise SandboxError(f"a control group cannot be made: {error}") from error
        self._spare_group = None
        ended_well = False
        try:
            group.limit(limits)
            yield group
            ended_well = True
        except OSError as error:
            raise SandboxError(f"a stage cannot be limited or watched: {error}") from error
        finally:
            if ended_well and uid is not None:
                self._used_groups[uid].append(group)
                asyncio.get_running_loop().call_soon(self._tidy_groups)
            else:
                await see_through(self._let_go(group, uid))

    def _make_group(self) -> Group:
        return self._cgroups.create(f"stage-{next(self._numbers)}")

    def _tidy_groups(self) -> None:
        """Remove what was used and make what will be; where that fails, it is tried again when it must be."""
        for groups in self._used_groups.values():
            for group in [*groups]:
                with suppress(OSError):
                    group.remove()
                    groups.remove(group)
        if self._spare_group is None:
            with suppress(OSError):
                self._spare_group = self._make_group()

    async def _let_go(self, group: Group, uid: int | None) -> None:
        try:
            await _remove(group)
        except SandboxError:
            if uid is not None:
                self._undying[uid] = group
            raise


def check_memory(total_bytes: int, limit: share.Limit | None) -> None:
    """Raise SandboxError if all stages together are promised more than the worker's control group has."""
    if limit is None or 0 < total_bytes <= limit.value - share.WORKER_BYTES:
        return
    raise SandboxError(
        f"ENVICUTOR_SANDBOX_TOTAL_MEMORY_BYTES = {total_bytes} is not between 1 and "
        f"{limit.value - share.WORKER_BYTES}: {limit.file} allows {limit.value} bytes, of which the worker "
        f"itself needs {share.WORKER_BYTES}. Set less, or give the worker's control group more memory"
    )


async def _remove(group: Group) -> None:
    """Remove a group whose processes are gone; the kernel may take a moment to see that."""
    deadline = asyncio.get_running_loop().time() + REMOVE_S
    while True:
        try:
            group.remove()
        except OSError as error:
            if asyncio.get_running_loop().time() > deadline:
                raise SandboxError(f"a control group cannot be removed: {error}") from error
            group.kill()  # whatever outlived a stage that could not be watched
            await asyncio.sleep(REMOVE_AGAIN_S)
        else:
            return
