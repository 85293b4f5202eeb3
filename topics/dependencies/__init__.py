"""Sets of dependencies: their ids, facts and state, and the fold that derives the state from the facts."""

import hashlib
import json

from topics.request.model import Dependencies


def dependencies_id(dependencies: Dependencies, package_set: str, system: str) -> str:
    """Return the id that all submissions with these dependencies share.

    `package_set` is the pin in force, `system` Nix's name of the platform, such as `x86_64-linux`.
    Order and repetition of packages do not matter.
    """
    packages = None if dependencies.nix else sorted(set(dependencies.packages or ()))
    identity: list[object] = [packages, dependencies.nix, package_set, system]
    if (
        dependencies.pypi or dependencies.npm
    ):  # without them the ids stay those of versions without pinned packages
        identity += [dependencies.pypi, dependencies.npm]
    text = json.dumps(identity, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def build_owner(key_id: str | None) -> str:
    """Return the owner with whose other builds a build takes turns, given the id of the API key.

    Everything without a key, over HTTP or Kafka, has one owner.
    """
    return f"key/{key_id}" if key_id else "no-key"
