import re
from pathlib import Path

from tests.budget import read, report

ROOT = Path(__file__).parents[2]
LIMIT_S = 1020


def test_what_runs_in_sequence_is_within_the_limit() -> None:
    assert sum(read()["in_sequence"].values()) <= LIMIT_S
    assert set(read()) == {"in_sequence", "beside"}, "suites of other tables would be in no sum"


def test_what_runs_beside_other_suites_ends_before_them() -> None:
    allowed_s = read()
    others_s = sum(allowed_s["in_sequence"][name] for name in ("integration", "system-tests"))
    assert sum(allowed_s["beside"].values()) <= others_s


def suites_of_make_test() -> list[str]:
    found = re.search(r"for suite in ([\w -]+);", (ROOT / "Makefile").read_text())
    assert found
    return found[1].split()


def test_each_suite_that_ci_runs_has_a_line_and_no_other() -> None:
    run = (ROOT / ".ci" / "run").read_text()
    assert re.search(r"^make test$", run, re.MULTILINE)
    suites = [*suites_of_make_test(), *re.findall(r"suite\.sh ([\w-]+)", run)]
    assert sorted(suites) == sorted(name for suites in read().values() for name in suites)


def test_the_report_ends_with_the_suites_that_took_too_long() -> None:
    *table, last = report({"a": 10, "b": 20, "c": 30}, {"b": 21, "a": 10})
    assert [line.split() for line in table[1:]] == [
        ["a", "10", "10"],
        ["b", "21", "20", "OVER"],
        ["c", "not", "run", "30"],
    ]
    assert last == "over budget: b"
    *_, last = report({"a": 10}, {"a": 10})
    assert last == "each suite that ran is within its budget"
