"""How often expressions are evaluated, and how much CPU time that takes at most."""

import asyncio
from contextlib import suppress

import pytest

from nix import evaluation
from nix.cache import BuildLimits, Cache
from nix.dependencies import Expression
from nix.errors import LimitError
from nix.progress import Step
from processors.build_turns import BuildTurns
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes
from tests.system.nix.conftest import Host

SPINNING = "let f = n: if n == 0 then 0 else f (n - 1) + f (n - 1); in f 60"


def stages(host: Host, cache: Cache, text: str) -> tuple[list[str], dict[str, str]]:
    steps: list[Step] = []
    work = cache.install(Expression(text), host.pin, BuildLimits(), steps.append)
    variables = host.loop.run(work).variables
    return [step.stage for step in steps], dict(variables)


def test_an_expression_is_evaluated_once_for_all_processes_of_a_host(
    host: Host, sandboxes: Sandboxes
) -> None:
    text = '{ pkgs }: pkgs.mkShell { packages = [ ]; SEEN = "before"; }'
    first, variables = stages(host, host.cache, text)
    assert "evaluating" in first
    other_process = Cache(host.settings, SandboxRunner(sandboxes))
    for cache in (host.cache, other_process):
        again, same = stages(host, cache, text)
        assert "evaluating" not in again
        assert same == variables == {"SEEN": "before"}


def test_a_failure_is_not_kept(host: Host) -> None:
    steps: list[Step] = []
    for _ in range(2):
        with pytest.raises(Exception, match="not today"):
            host.loop.run(
                host.cache.install(Expression('throw "not today"'), host.pin, BuildLimits(), steps.append)
            )
    assert [step.stage for step in steps] == ["evaluating", "evaluating"]


def test_a_spinning_expression_hits_the_limit_of_cpu_time(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "CPU_TIME_S", 0.5)
    with pytest.raises(LimitError, match=r"evaluating the expression hit the limit cpu_time_s = 0\.5$"):
        host.install(Expression(f"{{ pkgs }}: pkgs.mkShell {{ A = toString ({SPINNING}); }}"))


def test_spinning_expressions_of_one_owner_do_not_delay_another(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "CPU_TIME_S", 0.8)
    turns, ended = BuildTurns(builds=1, evaluations=2), list[str]()

    async def install(owner: str, text: str) -> None:
        with suppress(LimitError):
            await host.cache.install(
                Expression(text), host.pin, BuildLimits(), lambda _: None, turns=turns.of(owner)
            )
        ended.append(owner)

    async def all_at_once() -> None:
        spinning = [
            asyncio.create_task(
                install("spinner", f"{{ pkgs }}: pkgs.mkShell {{ A{n} = toString ({SPINNING}); }}")
            )
            for n in range(6)
        ]
        await asyncio.sleep(0)
        await install("other", "{ pkgs }: pkgs.mkShell { HONEST = 1; }")
        await asyncio.gather(*spinning)

    host.loop.run(all_at_once())
    assert sorted(ended) == ["other", *["spinner"] * 6]
    assert ended[-1] == "spinner"
