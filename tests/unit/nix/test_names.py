import tomllib
from typing import Any

from nix.package_set import SOURCES, make_names
from tests.unit.nix.packages import make_index, paragraph

CHOICES: dict[str, Any] = {
    "base": ["base"],
    "aliases": {"gcc": ["g++"], "jdk21": ["openjdk-21-jdk"]},
    "versions": {"gcc12": ["g++", "g++-12"], "gcc14": ["g++", "g++-14"]},
    "sets": {
        "python3Packages": {
            "package": "python3",
            "prefix": "python3-",
            "suffix": "",
            "names": {"pillow": "pil", "gone": "was-here"},
        },
        "haskellPackages": {"package": "ghc", "prefix": "libghc-", "suffix": "-dev"},
        "rubyPackages": {"package": "ruby", "prefix": "ruby-", "suffix": ""},
    },
}
INDEX = make_index(
    *map(
        paragraph,
        ["g++", "ghc", "libghc-text-dev", "libghc-text-doc", "python3", "python3-numpy", "python3-pil"],
    )
)


def test_aliases_exist_only_with_all_of_their_packages() -> None:
    assert make_names(INDEX, CHOICES)["aliases"] == {"gcc": ["g++"]}


def test_a_name_with_a_version_exists_only_where_the_package_is_of_that_version() -> None:
    both = paragraph("g++-12"), paragraph("g++-14")
    index = make_index(*both, paragraph("g++", Depends="g++-14 (>= 14.2)"))
    assert make_names(index, CHOICES)["aliases"] == {"gcc": ["g++"], "gcc14": ["g++", "g++-14"]}


def test_sets_exist_only_with_their_package_and_members_that_exist() -> None:
    assert make_names(INDEX, CHOICES)["sets"] == {
        "python3Packages": {
            "package": "python3",
            "members": {"numpy": "python3-numpy", "pil": "python3-pil", "pillow": "python3-pil"},
        },
        "haskellPackages": {"package": "ghc", "members": {"text": "libghc-text-dev"}},
    }


def test_our_table_is_well_formed() -> None:
    choices = tomllib.loads((SOURCES / "debian.toml").read_text())
    assert set(choices) == {"base", "left_out", "preferred", "aliases", "versions", "sets"}
    assert all(isinstance(targets, list) and targets for targets in choices["aliases"].values())
    assert all(len(targets) == len(("package", "version")) for targets in choices["versions"].values())
    assert not choices["aliases"].keys() & choices["versions"].keys()
    assert not set(choices["base"]) & set(choices["left_out"])
