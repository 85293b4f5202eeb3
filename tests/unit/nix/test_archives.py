import pytest

from nix.archives import GROUP_BYTES, GROUP_FILES, _groups
from nix.errors import CacheError
from nix.index import Package
from tests.unit.nix.packages import make_index, paragraph

URIS = {"stable/main": "http://127.0.0.1/"}


def packages(*sizes: int) -> list[Package]:
    index = make_index(*(paragraph(f"p{n}", Size=str(size)) for n, size in enumerate(sizes)))
    return [found for n in range(len(sizes)) if (found := index.package(f"p{n}"))]


def test_downloads_are_grouped_by_number_and_size_the_largest_first() -> None:
    small = [100] * (GROUP_FILES + 1)
    groups = _groups(packages(*small, GROUP_BYTES * 3, GROUP_BYTES // 2, GROUP_BYTES // 2), URIS)
    sizes = [[one.archive_bytes for one in group] for group in groups]
    assert sizes == [[GROUP_BYTES * 3], [GROUP_BYTES // 2] * 2, [100] * GROUP_FILES, [100]]
    assert _groups([], URIS) == []


def test_a_repository_that_apt_does_not_have_is_named() -> None:
    with pytest.raises(CacheError, match="no source for stable/main"):
        _groups(packages(1), {})
