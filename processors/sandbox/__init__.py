"""Sandbox: runs one command under limits. This package does not depend on Kafka."""

from processors.sandbox.attribution import Bounds
from processors.sandbox.boxes import Box
from processors.sandbox.collect import Collected, CollectedFile
from processors.sandbox.forks import Forks
from processors.sandbox.model import BoxTooSmallError, Command, Completed, OnOutput, Rootfs, SandboxError
from processors.sandbox.sandboxes import Sandboxes
from processors.sandbox.settings import SandboxSettings
from processors.sandbox.snapshot import SnapshotError

__all__ = [
    "Bounds",
    "Box",
    "BoxTooSmallError",
    "Collected",
    "CollectedFile",
    "Command",
    "Completed",
    "Forks",
    "OnOutput",
    "Rootfs",
    "SandboxError",
    "SandboxSettings",
    "Sandboxes",
    "SnapshotError",
]
