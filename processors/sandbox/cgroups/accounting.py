"""Check for host configurations in which some memory escapes the limit of a control group."""

from pathlib import Path

from processors.sandbox.model import SandboxError


def check(swap_limit: Path, group: Path) -> None:
    """Check that all memory of `group` and its children counts.

    `swap_limit` is the file that limits swap, which some kernels lack.

    Raises:
        SandboxError: some memory would not count; the message explains how to configure the host.
    """
    swaps, hierarchy = Path("/proc/swaps"), group / "memory.use_hierarchy"
    # A kernel without support for swap has neither file.
    if not swap_limit.exists() and swaps.exists() and has_swap(swaps.read_text()):
        raise SandboxError(
            "swap cannot be limited: boot with the kernel option swapaccount=1, or turn swap off (swapoff -a)"
        )
    if ignores_kernel_memory(Path("/proc/cmdline").read_text()):
        raise SandboxError("the kernel's own memory is not counted: boot without cgroup.memory=nokmem")
    if hierarchy.exists() and hierarchy.read_text().strip() == "0":
        raise SandboxError(
            "the limit of a control group does not hold for those below it: "
            f"echo 1 > {group.parent}/memory.use_hierarchy"
        )


def has_swap(swaps: str) -> bool:
    """Return whether the text of /proc/swaps lists a swap device below its header."""
    return len(swaps.splitlines()) > 1


def ignores_kernel_memory(options: str) -> bool:
    """Return whether the text of /proc/cmdline disables the accounting of kernel memory."""
    values = (word.removeprefix("cgroup.memory=") for word in options.split() if "cgroup.memory=" in word)
    return any("nokmem" in value.split(",") for value in values)
