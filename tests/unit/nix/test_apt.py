"""Sources of another release are those of the host's apt, and an own apt keeps to its folder."""

from pathlib import Path
from typing import Any

import pytest

from nix import apt
from nix.apt import PackageList, derive_sources
from nix.errors import CacheError
from nix.settings import NixSettings

MIRROR, SECURITY = "http://mirror.test/debian/", "http://mirror.test/debian-security/"


def known(codename: str, uri: str = MIRROR, **fields: Any) -> PackageList:
    plain = {"component": "main", "architecture": "amd64", "origin": "Debian", "filename": "/lists/a"}
    return PackageList(codename=codename, uri=uri, **plain | fields)


def test_sources_of_another_release_have_the_mirrors_of_the_host_s() -> None:
    lists = [
        known("bookworm"),
        known("bookworm", component="contrib"),
        known("bookworm", architecture="i386"),
        known("bookworm-updates"),
        known("bookworm-security", SECURITY),
        known("bookworm-backports"),
        known("trixie", "http://mirror.test/other/"),
        known("bookworm", "http://tools.test/", origin="Tools"),
    ]
    paragraphs = derive_sources(lists, "bookworm", "trixie").split("\n\n")
    common = f"Targets: Packages\nSigned-By: {apt.KEYRING}"
    assert [paragraph.strip() for paragraph in paragraphs] == [
        f"Types: deb\nURIs: {MIRROR}\nSuites: trixie\nComponents: main contrib\n{common}",
        f"Types: deb\nURIs: {MIRROR}\nSuites: trixie-updates\nComponents: main\n{common}",
        f"Types: deb\nURIs: {SECURITY}\nSuites: trixie-security\nComponents: main\n{common}",
    ]


def test_a_host_without_debian_s_lists_is_told_what_to_set() -> None:
    with pytest.raises(CacheError, match="ENVICUTOR_PACKAGE_SET_SOURCES"):
        derive_sources([known("stable", origin="Tools")], "stable", "trixie")


def test_a_set_without_a_known_release_needs_sources(tmp_path: Path) -> None:
    settings = NixSettings(cache_dir=tmp_path, package_set_sources={"mine": tmp_path / "mine.sources"})
    with (
        pytest.raises(CacheError, match="no sources of the package set other"),
        apt.updated(settings, "other"),
    ):
        pass
    with pytest.raises(CacheError, match=r"mine\.sources is no file"), apt.updated(settings, "mine"):
        pass


def test_the_host_s_own_set_has_the_name_of_its_release() -> None:
    assert apt.set_of_release({"ID": "debian", "VERSION_ID": "12"}) == "debian-12"
    assert apt.set_of_release({"ID": "debian"}) == "debian"  # testing has no number
    assert apt.set_of_release({}) == "debian"
