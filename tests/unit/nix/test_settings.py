"""A binary cache that could not work is refused with what is missing."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from nix.binary_cache import public_half
from nix.errors import CacheError
from nix.settings import NixSettings

SECRET = "test-1:" + "A" * 43 + "B" + "C" * 42 + "=="  # 64 bytes in base64
"""Its halves do not end where a letter does."""


def test_one_host_needs_nothing() -> None:
    assert NixSettings().binary_cache_dir is None


@pytest.mark.parametrize("folder", ["shared", "/mnt/my files", "/mnt/a?b"])
def test_a_folder_that_nix_would_not_find_is_refused(folder: str) -> None:
    with pytest.raises(ValidationError, match="binary_cache_dir"):
        NixSettings(binary_cache_dir=Path(folder), binary_cache_public_key=public_half(SECRET))


@pytest.mark.parametrize("key", ["", "test-1", "test-1:AAAA", SECRET])
def test_a_public_key_is_needed(key: str) -> None:
    with pytest.raises(ValidationError, match="as `envicutor binary-cache-key` prints it"):
        NixSettings(binary_cache_dir=Path("/mnt/shared"), binary_cache_public_key=key)


def test_the_public_half_is_what_nix_takes() -> None:
    assert NixSettings(binary_cache_dir=Path("/mnt/a"), binary_cache_public_key=public_half(SECRET))


def test_what_is_no_key_is_told_from_one() -> None:
    with pytest.raises(CacheError, match="is not one of Nix's"):
        public_half("test-1:not base64")


@pytest.mark.parametrize(
    "names", [("Debian 13",), ("../x",), ("debian",), ("debian-12", "debian-13", "debian-12")]
)
def test_names_of_package_sets_are_plain_and_given_once(names: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match=r"is not a name such as debian-13|is named twice"):
        NixSettings(package_sets=names)


def test_sources_are_those_of_names_of_package_sets() -> None:
    with pytest.raises(ValidationError, match="is not a name such as debian-13"):
        NixSettings(package_set_sources={"../x": Path("/etc/x.sources")})
