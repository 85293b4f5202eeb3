"""Small package lists for tests."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from nix import index
from nix.index import Index
from nix.package_set import Names, PackageSet


def paragraph(name: str, version: str = "1.0", **fields: str) -> str:
    """One package of a Packages file; fields such as `Depends`."""
    sha256 = hashlib.sha256(f"{name} {version}".encode()).hexdigest()
    given = {"Package": name, "Version": version} | {
        key.replace("_", "-"): value for key, value in fields.items()
    }
    rest = {
        "Installed-Size": "2",
        "Description": f"about {name}\n and more: of it",
        "Filename": f"pool/{name}_{version}.deb",
        "Size": "100",
        "SHA256": sha256,
    }
    return "".join(f"{key}: {value}\n" for key, value in (rest | given).items())


def make_index(*paragraphs: str, left_out: frozenset[str] = frozenset(), **preferred: str) -> Index:
    """The index of one list."""
    return Index(io.BytesIO(index.write([("stable/main", "\n".join(paragraphs))], left_out, preferred)))


def write_package_set(cache_dir: Path, pin: str, *paragraphs: str) -> Path:
    """Put a package set of one list where a host keeps them; returns its folder."""
    content = index.write([("stable/main", "\n".join(paragraphs))], frozenset(), {})
    described = PackageSet("debian", pin, hashlib.sha256(content).hexdigest(), "2026-01-01", "amd64")
    folder = cache_dir / "package-sets" / pin
    folder.mkdir(parents=True)
    (folder / "set.json").write_text(json.dumps(asdict(described)))
    (folder / "index").write_bytes(content)
    return folder


def of_graph(graph: Mapping[str, list[str]]) -> Index:
    """An index in which each package depends on the given groups of alternatives, such as `b | c`."""
    return make_index(
        *(
            paragraph(name, **({"Depends": ", ".join(needs)} if needs else {}))
            for name, needs in graph.items()
        )
    )


NAMES = Names(
    base=["base"],
    aliases={"gcc": ["g++"], "two": ["one", "g++"]},
    sets={"python3Packages": {"numpy": "python3-numpy", "pillow": "python3-pil"}},
)
