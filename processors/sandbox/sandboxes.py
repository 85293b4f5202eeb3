"""Sandboxes of one worker process: preparation of the host, boxes and runs of stages."""

import asyncio
import itertools
import os
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from processors.sandbox import capabilities, cgroups, inherited, launcher, mounts, seccomp, user_ids
from processors.sandbox.attribution import Bounds
from processors.sandbox.boxes import Box, place_to_mount
from processors.sandbox.cgroups import Group, GroupLimits, share
from processors.sandbox.completion import evaluate
from processors.sandbox.gate import gate
from processors.sandbox.model import Command, Completed, Rootfs, SandboxError
from processors.sandbox.orders import (
    HOST_COMMAND,
    orders_for_box,
    orders_for_host,
    root_orders,
)
from processors.sandbox.prepared import PreparedSandboxes
from processors.sandbox.settings import SandboxSettings
from processors.sandbox.stage import StageRun, Teardown, shielded
from processors.sandbox.standstill import StandstillWatch
from processors.sandbox.uncounted import LockReader, Uncounted
from processors.sandbox.user_ids import UserIds
from processors.sandbox.workplace import Workplace
from topics.request.limits import RunLimits

TRIALS: Sequence[tuple[Sequence[str], Mapping[str, int], str | None]] = (
    (["true"], {}, None),
    (["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"], {"memory_bytes": 16 << 20}, "memory_bytes"),
    (["timeout", "9", "true"], {"processes": 1}, "processes"),
)
"""Trial commands, their limits, and the limit that must end each, or None.

The kernel enforces these limits. The worker itself enforces time and output, which need no trial.
"""
WRITE_OOM_SCORE = "echo 1000 > /proc/self/oom_score_adj"
"""Script that must fail. It writes the present value: a program that may do so could also lower the value if
the worker lacks CAP_SYS_RESOURCE."""
PREPARE_AFTER_S = 0.02
"""Time after the end of a stage after which the next ones are prepared, so that its result goes first."""
REMOVE_S = 20.0
"""Deadline for the removal of a control group."""
REMOVE_AGAIN_S = 0.002
"""Time between two attempts at the removal: the kernel usually needs no longer."""


class Sandboxes:
    """Sandboxes of one worker process, which has one instance. All methods run on its event loop."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._numbers = itertools.count()
        self._unkillable: dict[int, Group] = {}
        """Control groups of processes that could not be killed, by their user id."""
        self._spare_group: Group | None = None
        """Control group for the next stage, made in advance to save time."""
        self._used_groups: defaultdict[int, list[Group]] = defaultdict(list)
        """Groups of ended stages by user id. A user gets no other box before they are removed."""
        self._teardowns: defaultdict[int, dict[Teardown, asyncio.Task[None]]] = defaultdict(dict)
        """Sandboxes that are being taken down, by user id. A user gets no other box before they are gone, and
        no other stage starts: they may still hold memory."""
        self._kept_back: dict[int, list[Teardown]] = {}
        """Sandboxes of closed boxes that the kernel did not take down, by user id. There are none if only the
        group in `_unkillable` is left."""
        self._preparing: asyncio.TimerHandle | None = None
        self._undo = ExitStack()

    async def start(self) -> None:
        """Check and prepare the host, and clean up after crashed workers.

        Raises:
            SandboxError: the host lacks a requirement; the message names it, and how to meet it.
        """
        if os.geteuid() != 0:
            raise SandboxError("mounts, control groups and user ids need root: start the worker as root")
        check_memory(self._settings.total_memory_bytes, share.memory_limit())
        user_ids.check_mapped(self._settings)
        await asyncio.to_thread(capabilities.check, capabilities.FOR_SANDBOXES)
        inherited.raise_limits()
        with ExitStack() as undo:
            program = await asyncio.to_thread(launcher.build_launcher, self._settings.cache_dir)
            self._seccomp = seccomp.make_filter()
            undo.callback(os.close, self._seccomp)
            self._workplace = await asyncio.to_thread(Workplace.claim, self._settings.state_dir)
            undo.callback(self._workplace.leave)
            ids = await asyncio.to_thread(UserIds.claim, self._settings, self._workplace.number)
            undo.callback(ids.release)
            self._cpus = share.cpus()
            self._cgroups = cgroups.locate(f"envicutor-{secrets.token_hex(6)}")
            undo.callback(self._cgroups.worker.leave)  # the groups themselves go when the place is swept
            self._enter_cgroups()
            self._server = launcher.LauncherServer(program)
            undo.callback(self._server.close)
            dev = self._workplace.folder / "dev"
            mounts.make_devices(dev)
            self._boxes = self._workplace.folder / "boxes"
            mounts.make_folder_for_boxes(self._boxes)
            self._lock_reader = LockReader()
            undo.callback(self._lock_reader.close)
            self._standstill = StandstillWatch()
            undo.callback(self._standstill.close)
            self._prepared = PreparedSandboxes(
                self._server, root_orders(dev, self._boxes), ids.uids, self._settings.prepared
            )
            undo.callback(self._prepared.close)
            undo.callback(self._stop_preparing)
            await self._try()
            self._undo = undo.pop_all()

    async def close(self) -> None:
        """Undo `start`; all boxes must be closed before."""
        self._undo.close()

    def check_slots(self, slots: int) -> None:
        """Check that there are boxes for submissions in all slots of a worker.

        Raises:
            SandboxError: there are not; the message names how many are needed.
        """
        self._settings.check_slots(slots)

    @property
    def total_memory_bytes(self) -> int:
        """Limit on the memory of all stages together, and so the highest limit of one stage."""
        return self._settings.total_memory_bytes

    @property
    def prepared_uids(self) -> list[int]:
        """User ids of the sandboxes that wait for a program."""
        return self._prepared.uids

    @property
    def prepared_hits(self) -> tuple[int, int]:
        """How many stages had a prepared sandbox, and how many had not."""
        return self._prepared.hits, self._prepared.misses

    def _enter_cgroups(self) -> None:
        self._workplace.note_groups(self._cgroups.paths())
        try:
            self._cgroups.make(GroupLimits(self._settings.total_memory_bytes, self._settings.total_processes))
            self._cgroups.worker.enter()
        except OSError as error:
            raise SandboxError(f"control groups cannot be made: {error}") from error

    async def _try(self) -> None:
        """Run trial commands, to detect a host that refuses or permits too much before it gets work."""
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
        """Yield a box that holds `files`, contents by relative path.

        Raises:
            BoxTooSmallError: the files do not fit into the box.
            SandboxError: all boxes are in use, or a box cannot be made or removed.
            ValueError: a name is not a relative path inside the box.
        """
        self._reclaim_uids()
        uid = self._prepared.take_uid()
        if uid is None:
            raise SandboxError(f"all {self._settings.boxes} boxes are in use")
        box = Box(self._boxes / str(next(self._numbers)), uid, self._run)
        try:
            async with place_to_mount(box.path):
                mounts.mount_box(box.path, uid, limits.box_bytes, limits.box_files)
                await box.write(files)
                yield box
        finally:
            await shielded(self._free(uid))

    async def _free(self, uid: int) -> None:
        """Remove the control groups of a closed box, and make its user id available again."""
        if unused := self._prepared.unused(uid):
            unused.close()
            self._take_down(uid, Teardown(unused.process, os.pidfd_open(unused.process.pid)))
        groups, teardowns = self._used_groups.pop(uid, []), self._teardowns.pop(uid, {})
        removals = (self._release(group, uid) for group in groups)
        tried = await asyncio.gather(*removals, *teardowns.values(), return_exceptions=True)
        errors = [error for error in tried if error is not None]
        stuck = [teardown for teardown in teardowns if not teardown.has_ended()]
        if stuck or uid in self._unkillable:
            self._kept_back[uid] = stuck
        elif not errors:
            self._prepared.give_back(uid)
        self._prepare_later()
        for error in errors:
            raise error

    def _reclaim_uids(self) -> None:
        """Give back user ids whose unkillable processes have ended by now, and forget their groups."""
        for uid in [*self._kept_back]:
            group = self._unkillable.get(uid)
            if (group and group.pids()) or not all(stuck.has_ended() for stuck in self._kept_back[uid]):
                continue
            if group:
                del self._unkillable[uid]
                with suppress(OSError):  # otherwise the group is removed with the place
                    group.remove()
            del self._kept_back[uid]
            self._prepared.give_back(uid)

    async def run_bounded(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        bounds: Bounds,
        processes: int,
        cwd: Path | None = None,
        stdin: bytes = b"",
    ) -> Completed:
        """Run a trusted command as root on the host, under limits and without network.

        The command gets only the variables in `env`. Cancellation kills it and all its descendants.

        Raises:
            SandboxError: the command could not be started or watched.
            ValueError: `argv` is empty, or an argument or a variable has a NUL.
        """
        async with self._group(GroupLimits(bounds.memory_bytes, processes)) as group:
            waiting = launcher.start(self._server, HOST_COMMAND)
            launched = launcher.launch(
                waiting,
                lambda positions: orders_for_host(argv, env, positions, cwd or Path("/")),
                stdin=stdin,
                groups=group.join_files(),
            )
            with self._standstill.watching() as host_stood_still:
                stage = StageRun(launched, group, bounds)
                try:
                    report = await stage.end()
                finally:
                    if stage.teardown:
                        await shielded(stage.teardown.wait())
                if report.wait_status is None:
                    report = replace(report, wait_status=stage.exit_status)
                return evaluate(stage, report, group, bounds, None, host_stood_still=host_stood_still())

    async def _run(self, box: Box, command: Command, rootfs: Rootfs, limits: RunLimits) -> Completed:
        bounds = Bounds(
            limits.wall_time_s,
            limits.memory_bytes,
            limits.stdout_bytes,
            limits.stderr_bytes,
            limits.cpu_time_s,
            limits.cpus,
        )
        cpus = min(limits.cpus, self._cpus)  # version 1 refuses a quota above that of a parent group
        group_limits = GroupLimits(limits.memory_bytes, limits.processes, cpus)
        async with self._group(group_limits, box.uid) as group:
            launched = launcher.launch(
                self._prepared.of(box.uid),
                lambda positions: orders_for_box(command.argv, command.env, limits, positions, rootfs),
                stdin=command.stdin,
                groups=group.join_files(),
                trees=[*rootfs.mounts.values(), box.path],
                seccomp=self._seccomp,
                owner=box.uid,
            )
            earlier = [*self._teardowns[box.uid].values()]

            async def may_start() -> None:
                if earlier:
                    await asyncio.wait(earlier)
                await command.may_start()

            with self._standstill.watching() as host_stood_still:
                async with gate(may_start, launched.allow_start) as may_run:
                    uncounted = Uncounted(launched.channel, self._lock_reader)
                    stage = StageRun(launched, group, bounds, command.on_output, may_run, uncounted)
                    try:
                        report = await stage.end()
                    finally:
                        if stage.teardown:
                            self._take_down(box.uid, stage.teardown)
                return evaluate(stage, report, group, bounds, box.full(), host_stood_still=host_stood_still())

    def _take_down(self, uid: int, teardown: Teardown) -> None:
        self._teardowns[uid][teardown] = asyncio.create_task(teardown.wait())

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
                self._prepare_later()
            else:
                await shielded(self._release(group, uid))

    def _make_group(self) -> Group:
        return self._cgroups.create(f"stage-{next(self._numbers)}")

    def _prepare_later(self) -> None:
        """Let `_prepare` run once the result of this stage is on its way."""
        if self._preparing is None:
            self._preparing = asyncio.get_running_loop().call_later(PREPARE_AFTER_S, self._prepare)

    def _stop_preparing(self) -> None:
        if self._preparing:
            self._preparing.cancel()

    def _prepare(self) -> None:
        """Remove used groups, and prepare a group and sandboxes for the next stages.

        Failures are ignored here: all are tried again when they are needed.
        """
        self._preparing = None
        for groups in self._used_groups.values():
            for group in [*groups]:
                with suppress(OSError):
                    group.remove()
                    groups.remove(group)
        if self._spare_group is None:
            with suppress(OSError):
                self._spare_group = self._make_group()
        self._prepared.make()

    async def _release(self, group: Group, uid: int | None) -> None:
        try:
            await _remove(group)
        except SandboxError:
            if uid is not None:
                self._unkillable[uid] = group
            raise


def check_memory(total_bytes: int, limit: share.Limit | None) -> None:
    """Check that the memory for all stages fits into the worker's control group.

    Raises:
        SandboxError: the setting exceeds the limit of the group, or the limit leaves no memory for stages.
    """
    if limit is None or 0 < total_bytes <= limit.value - share.WORKER_BYTES:
        return
    raise SandboxError(
        f"ENVICUTOR_SANDBOX_TOTAL_MEMORY_BYTES = {total_bytes} is not between 1 and "
        f"{limit.value - share.WORKER_BYTES}: {limit.file} allows {limit.value} bytes, of which the worker "
        f"itself needs {share.WORKER_BYTES}. Set less, or give the worker's control group more memory"
    )


async def _remove(group: Group) -> None:
    """Remove a group whose processes have ended, and retry while the kernel still counts some of them."""
    deadline = asyncio.get_running_loop().time() + REMOVE_S
    while True:
        try:
            group.remove()
        except OSError as error:
            if asyncio.get_running_loop().time() > deadline:
                raise SandboxError(f"a control group cannot be removed: {error}") from error
            group.kill()  # processes may have outlived a stage that could not be watched
            await asyncio.sleep(REMOVE_AGAIN_S)
        else:
            return
