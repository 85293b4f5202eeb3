"""The evaluation of expressions to plain data, by an unprivileged Nix without a store, in the sandbox."""

import asyncio
import re

from nix import resolve
from nix.errors import CacheError, DependenciesError, LimitError
from nix.evaluated import Evaluated, validate
from nix.package_set import OpenPackageSet
from nix.runner import Ran, Runner

WALL_TIME_S = 30.0
"""Upper bound of an evaluation, besides the request's limit. An honest expression takes 0.3 s."""
CPU_TIME_S = 5.0
"""CPU time of an evaluation. An honest expression takes 0.3 s, so that this suffices on a host ten times as
slow, while one that never ends keeps its slot for a few seconds only."""
MEMORY_BYTES = 1 << 30
"""Upper bound of an evaluation, besides the request's limit. An honest expression takes 0.1 GiB."""
EXPRESSION_BYTES = 256 << 10

MISSING = re.compile(r"(?:attribute|undefined variable|called without required argument) '([^']{1,200})'")
"""Nix's error messages for an unknown name."""
FAILED = 1
"""Nix's exit code for every error in an expression."""
SILENT = 'the expression ended in an error without a message, as `throw ""` does'
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
HINT = "(use '--show-trace' to show detailed location information)"
"""Nix's hint to an option that users cannot give. A pattern would take quadratic time to find its end."""

# Name of the user's file in messages. The expression is a file of its own, not spliced into other text.
EXPRESSION = "dependencies.nix"
BOX = "/box/"
NIX = ("env", "HOME=/tmp", "nix-instantiate", "--store", "dummy://", "--eval", "--strict", "--json")
COMMAND = (
    *NIX,
    "--option",
    "restrict-eval",
    "true",
    "--option",
    "allow-import-from-derivation",
    "false",
    "-I",
    "pkgs=/pkgs",
    "-I",
    "nixpkgs=/pkgs",
    "-I",
    f"{BOX}{EXPRESSION}",
    "--expr",
    f"(import /pkgs {{ }}).evaluate (import {BOX}{EXPRESSION})",
)


async def check(runner: Runner) -> None:
    """Raise CacheError if Nix does not evaluate anything on this host."""
    ran = await runner.sandboxed(
        (*NIX, "--expr", "1"), mounts={}, files={}, wall_time_s=WALL_TIME_S, memory_bytes=MEMORY_BYTES
    )
    if ran.exit_code != 0 or ran.stdout.strip() != b"1":
        raise _our_fault(ran, ran.stderr.decode(errors="replace"))


async def evaluate(
    expression: str,
    package_set: OpenPackageSet,
    runner: Runner,
    wall_time_s: float,
    memory_bytes: int,
) -> Evaluated:
    """Evaluate an expression against a package set.

    Raises:
        DependenciesError: the expression is wrong, with Nix's message, or its result is not valid.
        LimitError: the evaluation hit a limit.
        CacheError: Nix could not be started.
    """
    # Nix shows a line in errors only if it ends with a line feed.
    text = (expression + "\n").encode(errors="replace")
    if len(text) > EXPRESSION_BYTES:
        raise DependenciesError(f"the expression is larger than {EXPRESSION_BYTES} bytes")
    wall_time_s, memory_bytes = min(wall_time_s, WALL_TIME_S), min(memory_bytes, MEMORY_BYTES)
    ran = await runner.sandboxed(
        COMMAND,
        mounts={"/pkgs": package_set.expressions},
        files={EXPRESSION: text},
        wall_time_s=wall_time_s,
        cpu_time_s=CPU_TIME_S,
        memory_bytes=memory_bytes,
    )
    if ran.limit_exceeded:
        limits = {
            "wall_time_s": f"{wall_time_s:g}",
            "cpu_time_s": f"{CPU_TIME_S:g}",
            "memory_bytes": f"{memory_bytes}",
        }
        limit = f"{ran.limit_exceeded} = {limits.get(ran.limit_exceeded, 'its maximum')}"
        raise LimitError(f"evaluating the expression hit the limit {limit}")
    # Nix may print part of the JSON before an error: it is complete only if the exit code is 0.
    if ran.exit_code != 0:
        raise await asyncio.to_thread(_explain, ran, package_set)
    return await asyncio.to_thread(validate, ran.stdout)


def _explain(ran: Ran, package_set: OpenPackageSet) -> Exception:
    """Return the user's error with Nix's message, or a CacheError if Nix did not start."""
    message = COLOUR.sub("", ran.stderr.decode(errors="replace")).replace(HINT, "")
    message = message.replace(f"{BOX}{EXPRESSION}", EXPRESSION)
    if ran.exit_code == FAILED:
        explanation = message.partition("error: ")[2].strip() or message.strip() or SILENT
        return DependenciesError(explanation + _suggestions(explanation, package_set))
    if ran.signal:
        return DependenciesError(
            f"evaluating the expression ended with {ran.signal}, as endless recursion does"
        )
    return _our_fault(ran, message)


def _our_fault(ran: Ran, message: str) -> CacheError:
    how = ran.limit_exceeded or ran.signal or ran.exit_code
    return CacheError(f"nix-instantiate ended with {how}: {message.strip()[-1000:]}")


def _suggestions(explanation: str, package_set: OpenPackageSet) -> str:
    """Return similar package names of all sets, as text; Nix suggests those of one set only."""
    missing = MISSING.search(explanation.split("\n", 1)[0])
    near = missing and resolve.nearest(missing[1], package_set.index, package_set.names)
    return f"\nSimilar packages: {', '.join(near)}" if near else ""
