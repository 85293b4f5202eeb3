"""One set of dependencies at a cache builder: its installation in the Cache, and the facts about it."""

import asyncio
import logging
from dataclasses import asdict
from functools import partial

from nix.artifacts import ResolvedArtifact
from nix.cache import BuildLimits, Cache
from nix.dependencies import from_json
from nix.errors import DependenciesError, LimitError, TransientError
from processors.build_steps import BuildStepPublisher
from processors.build_turns import BuildTurns
from processors.evictions import Evictions
from processors.queue.attempt import Attempt
from processors.settings import WorkSettings
from topics.dependencies import artifacts as topics_artifacts
from topics.dependencies.facts import Failed, Fault, HandedBack, Installed, Started
from topics.dependencies.state import Build

log = logging.getLogger(__name__)

_LOG_CHARACTERS = 8192
"""Length of the end of a failed build's log that an explanation carries."""


class BuildExecutor:
    """The `JobExecutor` of a cache builder."""

    def __init__(
        self,
        name: str,
        settings: WorkSettings,
        cache: Cache,
        evictions: Evictions,
        steps: BuildStepPublisher,
        turns: BuildTurns,
        *,
        memory_bytes: int,
    ) -> None:
        """`name` is the builder's process; a build may have up to `memory_bytes` here."""
        self._name, self._settings, self._cache, self._turns = name, settings, cache, turns
        self._evictions, self._steps, self._memory_bytes = evictions, steps, memory_bytes

    def started(self, work: Build) -> Started:
        """Return the fact that this builder started the attempt."""
        return Started(attempt=work.attempt, builder=self._name)

    def handed_back(self, work: Build, reason: str, *, host_fault: bool) -> HandedBack:
        """Return the fact that this builder gives up the attempt, so that another builder retries it."""
        return HandedBack(attempt=work.attempt, builder=self._name, reason=reason, host_fault=host_fault)

    def unpublishable(self, work: Build, reason: str) -> Failed:
        """Return the end of a build whose result Kafka does not accept."""
        return self._failed(work, "ours", reason, 0.0)

    def is_cancelled(self, work: Build) -> bool:  # noqa: ARG002 - a protocol's method
        """Return False: other submissions may wait for the same build."""
        return False

    async def execute(self, attempt: Attempt[Build]) -> None:
        """Install the dependencies in the Cache and complete the attempt with the result.

        The attempt's own slot only bounds how many are held. The installation takes turns for others.
        """
        await attempt.wait_until_allowed()
        if attempt.work.alone:  # it waits until no other attempt runs here
            self._note_wait(attempt, True)
        async with attempt.slot():
            if attempt.work.alone:
                self._note_wait(attempt, False)
            attempt.complete(await self._built(attempt))

    def _note_wait(self, attempt: Attempt[Build], is_waiting: bool) -> None:
        """Note that nothing of the attempt runs, or that it runs.

        So it is not charged if the process dies meanwhile, and handed back at once if the process stops.
        """
        attempt.has_started = not is_waiting
        attempt.publish(self.started(attempt.work).replace(waiting=is_waiting))

    async def _built(self, attempt: Attempt[Build]) -> Installed | Failed:
        work = attempt.work
        wanted_bytes, most_bytes = work.limits.memory_bytes, self._memory_bytes
        if wanted_bytes > most_bytes:
            wanted = f"limits.dependencies.memory_bytes = {wanted_bytes}"
            message = f"{wanted}: this cache builder has no more than {most_bytes}"
            return self._failed(work, "limit", message, 0.0)
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        log.info("building %s: %s", work.id, work.dependencies.model_dump_json(exclude_none=True)[:200])
        try:
            with self._steps.of(work) as progress:
                installed = await self._cache.install(
                    from_json(work.dependencies.model_dump(exclude_none=True)),
                    work.package_set,
                    BuildLimits(**work.limits.model_dump()),
                    progress,
                    self._evictions.announce,
                    again=work.generation > 1,
                    resolution=[ResolvedArtifact(**artifact.model_dump()) for artifact in work.resolution],
                    turns=self._turns.of(work.owner, partial(self._note_wait, attempt)),
                )
        except DependenciesError as error:
            log.info(
                "building %s: failed: %.500r", work.id, str(error)
            )  # `repr` and a length: the client's text is to stay on one short line
            fault: Fault = "limit" if isinstance(error, LimitError) else "theirs"
            soon = fault == "limit" or isinstance(error, TransientError)
            return self._failed(work, fault, str(error), loop.time() - started_s, soon=soon)
        return Installed(
            attempt=work.attempt,
            builder=self._name,
            host=self._settings.host,
            store_path=installed.store_path,
            variables=installed.variables,
            packages=tuple(installed.packages),
            size_bytes=installed.size_bytes,
            wall_time_s=round(loop.time() - started_s, 3),
            published=self._cache.publishes,
            resolution=tuple(topics_artifacts.Artifact(**asdict(one)) for one in installed.resolution),
        )

    def _failed(
        self, work: Build, fault: Fault, explanation: str, wall_time_s: float, *, soon: bool = True
    ) -> Failed:
        """Return the fact of a failure; with `soon` it expires earlier, since a retry may succeed."""
        settings = self._settings
        expires_s = settings.other_failure_expires_s if soon else settings.failure_expires_s
        return Failed(
            attempt=work.attempt,
            builder=self._name,
            fault=fault,
            explanation=explanation[-_LOG_CHARACTERS:],
            log="",
            wall_time_s=round(wall_time_s, 3),
            expires_s=expires_s,
        )
