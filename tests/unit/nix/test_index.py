import io

from nix import index
from nix.index import Index
from tests.unit.nix.packages import make_index, paragraph


def test_a_package_is_read_as_the_list_says() -> None:
    packages = make_index(paragraph("a", "1:2.0-1", Depends="b (>= 1), c | d, libc6:any", Pre_Depends="e"))
    package = packages.package("a")
    assert package is not None
    assert (package.name, package.version, package.repository) == ("a", "1:2.0-1", "stable/main")
    assert (package.filename, package.archive_bytes) == ("pool/a_1:2.0-1.deb", 100)
    assert package.installed_bytes == 2048
    assert package.depends == (("e",), ("b",), ("c", "d"), ("libc6",))


def test_the_highest_version_wins_whatever_list_it_is_in() -> None:
    lists = [("stable/main", paragraph("a", "1.9")), ("security/main", paragraph("a", "1.10"))]
    for order in (lists, lists[::-1]):
        package = Index(io.BytesIO(index.write(order, frozenset(), {}))).package("a")
        assert package is not None
        assert (package.version, package.repository) == ("1.10", "security/main")


def test_tildes_sort_before_everything() -> None:
    packages = make_index(paragraph("a", "1.0~rc1"), paragraph("a", "1.0"))
    assert packages.package("a").version == "1.0"  # type: ignore[union-attr]


def test_a_name_that_only_others_provide_stands_for_them_best_first() -> None:
    packages = make_index(
        paragraph("gawk", Provides="awk", Priority="optional"),
        paragraph("mawk", Provides="awk", Priority="required"),
        paragraph("aawk", Provides="awk (= 2), other", Priority="optional"),
    )
    assert packages.candidates("awk") == ["mawk", "aawk", "gawk"]
    assert packages.package("awk") is None
    assert packages.candidates("mawk") == ["mawk"]
    assert packages.candidates("nothing") == []


def test_a_preferred_provider_comes_first() -> None:
    packages = make_index(paragraph("a", Provides="x"), paragraph("b", Provides="x"), x="b")
    assert packages.candidates("x") == ["b", "a"]


def test_what_is_left_out_is_not_depended_on() -> None:
    packages = make_index(
        paragraph("a", Depends="debconf (>= 0.5) | debconf-2.0, b"), left_out=frozenset({"debconf"})
    )
    assert packages.package("a").depends == (("b",),)  # type: ignore[union-attr]


def test_alternatives_of_a_version_that_does_not_fit_are_dropped() -> None:
    packages = make_index(
        paragraph("a", Depends="b (>= 2) | c, b (<< 2) | c"), paragraph("b", "1"), paragraph("c")
    )
    assert packages.package("a").depends == (("c",), ("b", "c"))  # type: ignore[union-attr]


def test_the_same_lists_give_the_same_bytes() -> None:
    one = paragraph("a", Depends="b, b, c", Provides="x, y")
    other = paragraph("b", Provides="y, x")
    make = [("s", one + "\n" + other), ("s", other + "\n" + one)]
    assert len({index.write([given], frozenset(), {}) for given in make}) == 1
