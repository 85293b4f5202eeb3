import hashlib
import json
import subprocess
import sys
from pathlib import Path

from nix.search import Found, Search, entries
from tests.unit.nix.packages import NAMES, make_index, paragraph

SEARCH = Search(
    [
        Found("python3-numpy", "1", "Fast array facility"),
        Found("numptyphysics", "2", "crayon based physics puzzle game"),
        Found("num-utils", "3", "Programs for dealing with numbers"),
        Found("python3-pandas", "4", "data structures for time series, on numpy"),
        Found("numpy", "5", ""),
    ]
)


def names(query: str, offset: int = 0, limit: int = 10) -> list[str]:
    return [found.name for found in SEARCH.find(query, offset, limit).packages]


def test_the_name_itself_comes_first_then_what_begins_with_it_then_what_has_it_then_descriptions() -> None:
    assert names("numpy") == ["numpy", "python3-numpy", "python3-pandas"]
    assert names("NUM") == ["numpy", "num-utils", "numptyphysics", "python3-numpy", "python3-pandas"]


def test_libraries_of_the_name_come_before_longer_names() -> None:
    ordered = ["numpy", "libnumpy-dev", "python3-numpy", "numpy-stl", "python3-numpy-dbg"]
    search = Search(Found(name, "1", "") for name in reversed(ordered))
    assert [found.name for found in search.find("Numpy", 0, 10).packages] == ordered


def test_every_word_must_be_there() -> None:
    assert names("python3 numpy") == ["python3-numpy", "python3-pandas"]
    assert names("numpy game") == []


def test_pages_are_parts_of_one_list() -> None:
    assert names("", 0, 2) + names("", 2, 2) + names("", 4, 2) == names("")
    assert SEARCH.find("", 3, 1).total == len(names("")) == 5
    assert names("", 9) == []


def test_entries_are_what_requests_may_use() -> None:
    index = make_index(
        paragraph("g++", "12"), paragraph("one"), paragraph("mawk", Provides="awk"), paragraph("gcc", "12")
    )
    found = {entry.name: entry for entry in entries(index, NAMES)}
    assert set(found) == {"g++", "gcc", "one", "mawk", "two"}
    assert found["gcc"] == Found("gcc", "12", "g++: about g++")
    assert found["mawk"].description == "about mawk"


PACKAGES = 64_000
"""As many as Debian has."""
LOAD = """
import resource
import sys
from pathlib import Path
from nix import search
from nix.settings import NixSettings

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before = peak_bytes()
found = search.load(NixSettings(cache_dir=Path(sys.argv[1])), "large")
print(found.find("package", 0, 50).total, peak_bytes() - before)
"""


def make_package_set(folder: Path) -> None:
    rest = {
        "repository": "bookworm/main",
        "sha256": "0" * 64,
        "archive_bytes": 100_000,
        "installed_bytes": 400_000,
        "depends": [["libc6"], ["libgcc-s1"], ["libstdc++6"]],
    }
    lines = []
    for number in range(PACKAGES):
        name = f"libpackage-{number:05}-dev"
        own = {
            "version": f"1.{number}-1",
            "filename": f"pool/main/libp/libpackage/{name}_1.{number}-1_amd64.deb",
        }
        description = f"library of the kind {number}, development files"
        lines.append(f"{name}\t{json.dumps(rest | own | {'description': description})}\n")
    index = "".join(lines).encode()
    (folder / "pkgs").mkdir(parents=True)
    (folder / "index").write_bytes(index)
    names = {"base": [], "packages": [line.partition("\t")[0] for line in lines], "aliases": {}, "sets": {}}
    (folder / "pkgs/names.json").write_text(json.dumps(names))
    described = {"name": "debian", "pin": "large", "date": "2026-01-01", "architecture": "amd64"}
    digest = hashlib.sha256(index).hexdigest()
    (folder / "set.json").write_text(json.dumps(described | {"index_digest": digest}))


def test_the_first_search_takes_less_than_20_mib(tmp_path: Path) -> None:
    make_package_set(tmp_path / "package-sets/large")
    command = [sys.executable, "-c", LOAD, str(tmp_path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    total, grown_bytes = map(int, printed.split())
    assert total == PACKAGES
    assert grown_bytes < 20 * 1024 * 1024
