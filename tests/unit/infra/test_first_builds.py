"""What the benchmark of first builds derives: rows, environments of the examples, ratios and aims."""

from pathlib import Path

from nix.dependencies import Expression, Packages
from tests.benchmarks import first_builds
from tests.benchmarks.apt import archive_files
from tests.benchmarks.dependencies import aims
from tests.benchmarks.first_builds import (
    APT,
    APT_ITSELF,
    DEMO,
    NUMPY,
    PACKAGES,
    environments_of_examples,
    rows,
)
from tests.benchmarks.hosts import Has
from tests.benchmarks.measuring import Samples
from tests.soak.dependencies import disk_space

SAMPLES: Samples = {
    f"python3, {Has.TREES}": [0.5, 0.6, 0.4],
    f"python3, {Has.ARCHIVES}": [1.0, 3.0, 1.1],
    f"python3, {Has.NOTHING}": [7.0],
    APT: [2.2, 2.0, 2.6],
    APT_ITSELF: [2.0, 1.8, 2.2],
}


def test_all_rows_are_packages_numpy_and_the_examples() -> None:
    assert [row.name for row in rows((), "pin")] == ["python3", NUMPY, *PACKAGES[1:], DEMO]
    assert [row.name for row in rows((), "pin") if row.before] == [NUMPY]
    assert [row.name for row in rows((), "pin") if row.downloads] == [*PACKAGES]


def test_given_packages_are_the_only_rows() -> None:
    assert [(row.name, row.wanted) for row in rows(["hello"], "pin")] == [("hello", (Packages(("hello",)),))]


def test_environments_of_examples_are_those_that_can_be_built_each_once() -> None:
    found = environments_of_examples("pin")
    assert len(found) == len(set(found))
    assert Packages(("g++",)) in found
    assert any(isinstance(one, Expression) and "jdk17_headless" in one.text for one in found)
    assert not any("nmupy" in str(one) or "pythn" in str(one) for one in found)


def test_a_line_has_medians_maxima_the_aim_and_the_build_with_downloads() -> None:
    [row] = rows(["python3"], "pin")
    assert first_builds.table(SAMPLES, [row]) == [
        ["python3", "0.50 s", "0.60 s", "1.10 s", "3.00 s", "1.2 s", "7.0 s"]
    ]


def test_a_package_without_an_aim_has_none() -> None:
    [row] = rows(["hello"], "pin")
    samples = {f"hello, {has}": [1.0] for has in Has}
    assert first_builds.table(samples, [row])[0][5] == ""


def test_ratios_are_those_of_medians_to_apt_get() -> None:
    assert [line[-1] for line in first_builds.beside_apt(SAMPLES)] == ["0.23", "0.50", "1.00", "0.91"]


def test_aims_are_compared_with_medians() -> None:
    assert aims(SAMPLES, {"fetch python3": [0.5]}) == [
        [f"python3, {Has.TREES}", "1.2 s", "0.50 s", "yes"],
        [f"python3, {Has.ARCHIVES}", "1.2 s", "1.10 s", "yes"],
        [f"python3, {Has.TREES}, times apt-get", "1", "0.23", "yes"],
        [f"python3, {Has.ARCHIVES}, times apt-get", "1", "0.50", "yes"],
        ["fetch python3", "0.4 s", "0.50 s", "no"],
    ]


def test_what_was_not_measured_has_no_aim() -> None:
    assert aims({f"hello, {Has.ARCHIVES}": [1.0]}, {"fetch hello": [9.0]}) == []


def test_apt_names_its_archives() -> None:
    listed = (
        "'http://test/libattr1_2.5.1-4_amd64.deb' libattr1_1%3a2.5.1-4_amd64.deb 22164 MD5Sum:52fe\n"
        "'http://test/xz_5.4.1-1%2bdeb12u2_amd64.deb' xz-utils_5.4.1-1+deb12u2_amd64.deb 471448 \n"
    )
    assert archive_files(listed) == {
        "libattr1": "libattr1_1%3a2.5.1-4_amd64.deb",
        "xz-utils": "xz-utils_5.4.1-1+deb12u2_amd64.deb",
    }


def test_a_file_of_two_folders_counts_in_the_first(tmp_path: Path) -> None:
    for name in ("trees", "environments"):
        (tmp_path / name).mkdir()
    (tmp_path / "trees/file").write_bytes(bytes(1 << 20))
    (tmp_path / "environments/file").hardlink_to(tmp_path / "trees/file")
    folders = {"trees": tmp_path / "trees", "environments": tmp_path / "environments"}
    sizes = disk_space({**folders, "none": tmp_path / "none"})
    assert sizes["trees"] >= 1 << 20 > sizes["environments"]
    assert sizes["none"] == 0
