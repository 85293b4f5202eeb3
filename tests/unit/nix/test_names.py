import tomllib
from typing import Any

from nix.package_set import SOURCES, make_names
from tests.unit.nix.packages import make_index, paragraph

CHOICES: dict[str, Any] = {
    "base": ["base"],
    "aliases": {"gcc": ["g++"], "gcc14": ["g++", "g++-14"]},
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
    assert set(choices) == {"base", "left_out", "preferred", "aliases", "sets"}
    assert all(isinstance(targets, list) and targets for targets in choices["aliases"].values())
    assert not set(choices["base"]) & set(choices["left_out"])
