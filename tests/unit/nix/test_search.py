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
