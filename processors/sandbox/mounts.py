"""Mounts, and safe access to files that a hostile program may have arranged."""

import ctypes
import os
import re
import stat
from pathlib import Path

from processors.sandbox.model import SandboxError

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MNT_DETACH = 2
SYS_OPEN_TREE, SYS_OPENAT2 = 428, 437
AT_FDCWD, AT_NO_AUTOMOUNT, AT_RECURSIVE, OPEN_TREE_CLONE = -100, 0x800, 0x8000, 1
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 1, 2, 4, 8

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, path: str | Path) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    return result


def mount(kind: str, target: Path, flags: int, options: str) -> None:
    """Mount a file system without a device, which is named after its kind.

    Raises:
        SandboxError: the kernel refuses the mount.
    """
    arguments = (kind.encode(), bytes(target), kind.encode(), ctypes.c_ulong(flags), options.encode())
    try:
        _check(_libc.mount(*arguments), target)
    except OSError as error:
        raise SandboxError(f"the kernel does not mount {kind} ({options}): {error}") from error


def bind(source: Path, target: Path) -> None:
    """Mount a file on another one.

    Raises:
        SandboxError: the kernel refuses the mount.
    """
    try:
        _check(_libc.mount(bytes(source), bytes(target), None, ctypes.c_ulong(MS_BIND), None), target)
    except OSError as error:
        raise SandboxError(f"the kernel does not bind {source}: {error}") from error


def unmount(target: Path) -> None:
    """Detach a mount and all mounts below it at once, even if they are in use.

    Raises:
        OSError: `target` is not a mount point.
    """
    _check(_libc.umount2(bytes(target), MNT_DETACH), target)


def clone_tree(source: Path) -> int:
    """Return a descriptor of a detached clone of the mounts at and below a path, which can be mounted once.

    Raises:
        OSError: the path does not exist.
    """
    flags = ctypes.c_uint(OPEN_TREE_CLONE | AT_RECURSIVE | AT_NO_AUTOMOUNT | os.O_CLOEXEC)
    return _check(_libc.syscall(SYS_OPEN_TREE, AT_FDCWD, bytes(source), flags), source)


def mounts_below(folder: Path) -> list[Path]:
    """Return the mount points at and below a folder, the latest mount first."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    points = [Path(os.fsdecode(unescape(line.split()[4]))) for line in lines]
    return [point for point in reversed(points) if point.is_relative_to(folder)]


def unescape(path: bytes) -> bytes:
    r"""Decode the octal escapes, such as \040 for a blank, that the kernel writes into paths."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), path)


def open_regular(folder: int, name: str) -> int:
    """Open a regular file below an open folder for reading, through no link and no mount.

    Raises:
        OSError: there is no such regular file.
    """
    descriptor = _open_beneath(folder, name, os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{name} is not a regular file")
    return descriptor


def open_folder(folder: int, name: str) -> int:
    """Open a folder below an open folder for listing, through no link and no mount.

    Raises:
        OSError: there is no such folder.
    """
    return _open_beneath(folder, name, os.O_DIRECTORY)


def _open_beneath(folder: int, name: str, flags: int) -> int:
    how = (ctypes.c_uint64 * 3)(
        os.O_RDONLY | os.O_CLOEXEC | flags,
        0,
        RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    )
    arguments = (folder, os.fsencode(name), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how)))
    return _check(_libc.syscall(ctypes.c_long(SYS_OPENAT2), *arguments), name)


def make_devices(folder: Path) -> None:
    """Mount a read-only /dev for all sandboxes: harmless devices and the standard streams, no terminal.

    Without the capability MKNOD, as in a user namespace, the devices are those of the host. Then a program
    could observe that something on the host opens them.

    Raises:
        SandboxError: the host lacks a device, or the kernel refuses a mount.
    """
    folder.mkdir()
    mount("tmpfs", folder, MS_NOSUID | MS_NOEXEC, "size=64k,mode=755")
    for name, minor in {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}.items():
        try:
            os.mknod(folder / name, stat.S_IFCHR, os.makedev(1, minor))
            (folder / name).chmod(0o666)
        except PermissionError:
            (folder / name).touch()
            bind(Path("/dev", name), folder / name)
    for name, target in {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}.items():
        (folder / name).symlink_to(f"/proc/self/fd{target}")
    (folder / "shm").mkdir()
    mount("tmpfs", folder, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NOEXEC, "size=64k")


def make_folder_for_boxes(folder: Path) -> None:
    """Mount an empty file system for the mount points of boxes, because making folders on disk is far slower.

    Raises:
        SandboxError: the kernel refuses the mount.
    """
    folder.mkdir()
    mount("tmpfs", folder, MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=1m,mode=711")


def mount_box(target: Path, uid: int, size_bytes: int, files: int) -> None:
    """Mount an empty file system of bounded size that belongs to a user.

    Raises:
        SandboxError: the kernel refuses the mount.
    """
    options = f"size={size_bytes},nr_inodes={files + 1},mode=0700,uid={uid},gid={uid}"
    mount("tmpfs", target, MS_NOSUID | MS_NODEV, options)


def resize_box(target: Path, size_bytes: int, files: int) -> None:
    """Set the limits of a box to its present content plus this size and this number of files.

    Raises:
        SandboxError: the kernel refuses the new limits.
    """
    now = os.statvfs(target)
    size_bytes += (now.f_blocks - now.f_bfree) * now.f_frsize
    inodes = now.f_files - now.f_ffree + files
    mount("tmpfs", target, MS_REMOUNT | MS_NOSUID | MS_NODEV, f"size={size_bytes},nr_inodes={inodes}")
