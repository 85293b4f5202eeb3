"""apt of a package set: its sources, its lists of packages, the addresses of its repositories.

The set of the host's own release has the host's apt, whose lists the operator updates. Each other set has an
apt of its own in `cache_dir/apt/NAME`, with the proxies and credentials of the host's:

    NAME.sources    the host's sources for another release, unless `package_set_sources` has a file
    lists/          see apt(8); empty until the first update
    lock            held while lists are updated and read
"""

import platform
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nix import locks
from nix.errors import CacheError
from nix.settings import CODENAMES, NixSettings

HELPER = "/usr/lib/apt/apt-helper"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
"""Keys of Debian's releases, from the package debian-archive-keyring."""
EARLIER_NAME = "debian"
"""Name of the host's set in package sets that earlier versions made."""
_FORM = "$(CODENAME)|$(COMPONENT)|$(REPO_URI)|$(ARCHITECTURE)|$(ORIGIN)|$(FILENAME)"


@dataclass(frozen=True)
class PackageList:
    """A list of packages that apt has."""

    codename: str
    """Codename of the release in the repository, such as `bookworm-security`."""
    component: str
    uri: str
    """Address of the repository, with a slash at its end."""
    architecture: str
    origin: str
    """Distribution that signs the repository, such as `Debian`."""
    filename: str
    """Path of the list, in whichever compression apt keeps it."""

    @property
    def repository(self) -> str:
        """Name of the repository in indexes: `CODENAME/COMPONENT`."""
        return f"{self.codename}/{self.component}"


@cache
def host_set() -> str:
    """Return the name of the package set of this host's own release, such as `debian-12`."""
    return set_of_release(_os_release())


def set_of_release(release: Mapping[str, str]) -> str:
    """Return the name of the package set of a release; `release` has the fields of os-release(5)."""
    return "-".join(filter(None, (release.get("ID", EARLIER_NAME), release.get("VERSION_ID"))))


def package_lists(settings: NixSettings, name: str) -> list[PackageList]:
    """Return the lists that apt has for a package set.

    Raises:
        CacheError: apt is not installed, or failed.
    """
    command = [
        "apt-get",
        "indextargets",
        *_options(settings, name),
        "--format",
        _FORM,
        "Created-By: Packages",
    ]
    return [PackageList(*line.split("|")) for line in output(*command).splitlines()]


def repositories(settings: NixSettings, name: str) -> dict[str, str]:
    """Return the address of each repository of a package set; update lists that are not there yet.

    Raises:
        CacheError: apt is not installed, has no sources for the set, or cannot reach them.
    """
    known = package_lists(settings, name)
    if not known and not _is_hosts(settings, name):
        with updated(settings, name):
            known = package_lists(settings, name)
    return {found.repository: found.uri for found in known}


@contextmanager
def updated(settings: NixSettings, name: str) -> Iterator[None]:
    """Update the lists of a package set, and keep other processes from updating them again meanwhile.

    Lists of the host's own release stay as they are.

    Raises:
        CacheError: apt has no sources for the set, cannot reach them, or does not accept a signature.
    """
    if _is_hosts(settings, name):
        yield
        return
    folder = _folder(settings, name)
    (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
    with _locked(folder / "lock"):
        if name not in settings.package_set_sources:
            _sources(settings, name).write_text(_derived(settings, name))
        elif not _sources(settings, name).is_file():
            raise CacheError(f"ENVICUTOR_PACKAGE_SET_SOURCES: {_sources(settings, name)} is no file")
        output("apt-get", "update", "-q", "--error-on=any", *_options(settings, name))
        yield


def derive_sources(known: Iterable[PackageList], host_codename: str, codename: str) -> str:
    """Return sources of another release, from the same mirrors as the lists that the host's apt has.

    The suites of the host's release, of its updates and of its security repository count.

    Raises:
        CacheError: there is none.
    """
    wanted: dict[tuple[str, str], list[str]] = {}
    for found in known:
        base, _, kind = found.codename.partition("-")
        if found.origin == "Debian" and base == host_codename and kind in ("", "updates", "security"):
            suite = "-".join(filter(None, (codename, kind)))
            components = wanted.setdefault((found.uri, suite), [])
            if found.component not in components:
                components.append(found.component)
    if not wanted:
        raise CacheError(
            f"apt on this host has no lists of Debian {host_codename!r}, so the mirror of {codename} is not "
            "known: run `apt-get update`, or set ENVICUTOR_PACKAGE_SET_SOURCES"
        )
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {' '.join(components)}\nTargets: Packages\n"
        f"Signed-By: {KEYRING}\n"
        for (uri, suite), components in wanted.items()
    )


def output(*argv: str) -> str:
    """Run a command and return its standard output.

    Raises:
        CacheError: it is not installed, or failed; the message has its errors.
    """
    try:
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError as error:
        raise CacheError(f"{argv[0]} is not installed: package sets are made on Debian") from error
    except subprocess.CalledProcessError as error:
        raise CacheError(f"{' '.join(argv[:2])} failed: {error.stderr.strip()}") from error


def _is_hosts(settings: NixSettings, name: str) -> bool:
    return name in (EARLIER_NAME, host_set()) and name not in settings.package_set_sources


def _folder(settings: NixSettings, name: str) -> Path:
    return settings.cache_dir / "apt" / name


def _sources(settings: NixSettings, name: str) -> Path:
    return settings.package_set_sources.get(name, _folder(settings, name) / f"{name}.sources")


def _options(settings: NixSettings, name: str) -> list[str]:
    """Return the options by which apt uses the sources and lists of a package set, and no others."""
    if _is_hosts(settings, name):
        return []
    folder = _folder(settings, name)
    own = {
        "Dir::Etc::sourcelist": _sources(settings, name),
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder,
    }
    return [argument for option, value in own.items() for argument in ("-o", f"{option}={value}")]


def _derived(settings: NixSettings, name: str) -> str:
    codename = CODENAMES.get(name)
    if codename is None:
        raise CacheError(f"there are no sources of the package set {name}: set ENVICUTOR_PACKAGE_SET_SOURCES")
    if not Path(KEYRING).is_file():
        raise CacheError(f"{KEYRING} is missing: run `apt-get install debian-archive-keyring`")
    return derive_sources(
        package_lists(settings, host_set()), _os_release().get("VERSION_CODENAME", ""), codename
    )


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock of the file; wait in this thread while another process holds it."""
    while True:
        with locks.try_exclusive(path) as locked:
            if locked:
                yield
                return
        time.sleep(locks.POLL_S)
