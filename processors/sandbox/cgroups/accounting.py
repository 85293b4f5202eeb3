"""What would escape the limit on memory on a host that is set up in certain ways."""

from pathlib import Path

from processors.sandbox.model import SandboxError


def check(swap_limit: Path, group: Path) -> None:
    """Raise SandboxError if `group` and its children could use memory that is not counted.

    `swap_limit` is the file that forbids swap, which a kernel may not have.
    """
    swaps, hierarchy = Path("/proc/swaps"), group / "memory.use_hierarchy"
    # A kernel that was built without swap has neither file.
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
    """Judge by the text of /proc/swaps, which starts with a line of titles."""
    return len(swaps.splitlines()) > 1


def ignores_kernel_memory(options: str) -> bool:
    """Judge by the text of /proc/cmdline."""
    values = (word.removeprefix("cgroup.memory=") for word in options.split() if "cgroup.memory=" in word)
    return any("nokmem" in value.split(",") for value in values)
