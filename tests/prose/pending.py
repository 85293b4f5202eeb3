"""What is not converted to the rules yet."""

from pathlib import Path

PENDING: frozenset[str] = frozenset(
    {
        "README.md",
        "docs/architecture.md",
        "docs/audit.md",
        "docs/dependencies.md",
        "docs/http.md",
        "docs/kafka.md",
        "docs/sandbox.md",
        "infra",
        "infra/bench",
        "infra/commands",
        "infra/host",
        "infra/kafka",
        "infra/kafka/gateway",
        "ingest",
        "ingest/client",
        "ingest/page/src",
        "ingest/page/src/editor",
        "ingest/page/src/submission",
        "ingest/page/src/system",
        "ingest/routes",
        "nix/registries",
        "nix/registries/inside",
        "processors",
        "processors/health_checker",
        "processors/sandbox",
        "processors/sandbox/cgroups",
        "processors/store",
        "processors/webhooks",
        "processors/work",
        "processors/worker",
        "topics",
        "topics/audit",
        "topics/dependencies",
        "topics/submissions",
    }
)
"""Documents, and folders of the product without those below them. Delete an entry to have it checked."""


def is_pending(file: Path) -> bool:
    """Return whether a file, relative to the repository, is not checked yet."""
    return bool(PENDING & {file.as_posix(), file.parent.as_posix()})
