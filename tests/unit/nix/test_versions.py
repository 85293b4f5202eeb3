from pathlib import Path

import pytest

from nix.errors import CacheError
from nix.settings import NixSettings
from nix.versions import upstream, versions
from tests.unit.nix.packages import paragraph, write_package_set


@pytest.mark.parametrize(
    ("debian", "shown"),
    [
        ("4:12.2.0-3", "12.2.0"),
        ("5.36.0-7+deb12u4", "5.36.0"),
        ("18.20.4+dfsg-1~deb12u1", "18.20.4"),
        ("3.1.7+really3.1.2-0+deb12u1", "3.1.2"),
        ("17.0.21.1+2-1~deb12u1", "17.0.21.1"),
        ("2:1.19~1", "1.19"),
        ("1.14.0.dfsg-2", "1.14.0"),
        ("8.6.13", "8.6.13"),
    ],
)
def test_a_version_is_that_of_the_authors(debian: str, shown: str) -> None:
    assert upstream(debian) == shown


def test_versions_of_names_that_the_set_has(tmp_path: Path) -> None:
    node = paragraph("node", "18-1", Provides="node-types (= 1)")
    write_package_set(tmp_path, "pin", paragraph("gcc", "4:12.2.0-3"), node)
    found = versions(NixSettings(cache_dir=tmp_path), "pin", ["gcc", "node-types", "julia"])
    assert found == {"gcc": "12.2.0", "node-types": "18"}
    with pytest.raises(CacheError, match="does not have the package set other"):
        versions(NixSettings(cache_dir=tmp_path), "other", ["gcc"])
