"""How many environments one client may have requested that are not built yet."""

from collections import Counter

import pytest

from topics.dependencies import build_owner
from topics.dependencies.quota import RECOUNT_MS, BuildQuota
from topics.dependencies.state import EnvironmentState, Status, unfinished_by_owner, unfinished_in
from topics.request.limits import DependenciesLimits
from topics.request.model import BASE

LIMITS = DependenciesLimits()
NOW_MS = 1000
OWNER, OTHER = build_owner("a"), build_owner(None)


class Store:
    """Rows, and the submissions that have no end."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self.unfinished: set[str] = set()
        self.reads = 0

    def put(self, id: str, status: Status, owner: str = OWNER, expires_at_ms: int | None = None) -> None:
        state = EnvironmentState(
            id=id,
            status=status,
            owner=owner,
            expires_at_ms=expires_at_ms,
            requested_at_ms=0,
            created_at="t",
            dependencies=BASE,
            package_set="p",
            system="s",
            limits=LIMITS,
        )
        self.rows[id] = state.model_dump_json().encode()

    def get(self, key: str) -> bytes | None:
        self.reads += 1
        return self.rows.get(key)

    def count(self, status: str) -> int:
        return sum(unfinished_by_owner(row) == status for row in self.rows.values())


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def quota(store: Store) -> BuildQuota:
    return BuildQuota(2, store, store.unfinished.__contains__)


def accepts(quota: BuildQuota, store: Store, id: str, owner: str = OWNER, *, now_ms: int = NOW_MS) -> bool:
    """As a request handler does; the submission is called as its dependencies."""
    admitted = quota.admits(owner, id, LIMITS, now_ms)
    if admitted:
        store.unfinished.add(f"for-{id}")
        quota.note(owner, id, f"for-{id}")
    return admitted


def test_a_client_may_have_so_many_and_another_has_its_own(store: Store, quota: BuildQuota) -> None:
    assert [accepts(quota, store, id) for id in ("1", "2", "3")] == [True, True, False]
    assert accepts(quota, store, "4", OTHER)


def test_builds_count_once_whether_accepted_or_requested(store: Store, quota: BuildQuota) -> None:
    assert accepts(quota, store, "1")
    store.put("1", "queued")
    assert accepts(quota, store, "2")
    store.put("1", "started")
    assert not accepts(quota, store, "3")
    store.put("1", "installed")
    assert accepts(quota, store, "3")


@pytest.mark.parametrize("status", ["queued", "started", "installed"])
def test_what_exists_or_is_being_built_is_not_refused(
    store: Store, quota: BuildQuota, status: Status
) -> None:
    for id in ("1", "2"):
        store.put(id, "started")
    store.put("there", status, OTHER)
    assert accepts(quota, store, "there")
    assert not accepts(quota, store, "new")


def test_what_was_accepted_before_is_not_refused_to_anybody(store: Store, quota: BuildQuota) -> None:
    assert accepts(quota, store, "1")
    assert accepts(quota, store, "2")
    assert accepts(quota, store, "1")
    store.put("3", "queued", OTHER)
    store.put("4", "queued", OTHER)
    assert accepts(quota, store, "2", OTHER)
    assert not accepts(quota, store, "5", OTHER)


def test_a_failure_counts_as_existing_until_it_expires(store: Store, quota: BuildQuota) -> None:
    store.put("1", "started")
    store.put("2", "started")
    store.put("failed", "failed", expires_at_ms=NOW_MS + 1)
    store.put("expired", "failed", expires_at_ms=NOW_MS)
    store.put("gone", "gone")
    assert accepts(quota, store, "failed")
    assert not accepts(quota, store, "expired")
    assert not accepts(quota, store, "gone")


def test_a_submission_that_ended_without_a_build_is_forgotten(store: Store, quota: BuildQuota) -> None:
    assert accepts(quota, store, "1")
    assert accepts(quota, store, "2")
    store.unfinished.discard("for-1")  # it was cancelled
    assert accepts(quota, store, "3")
    assert not accepts(quota, store, "4")


def test_no_row_is_read_below_the_bound(store: Store, quota: BuildQuota) -> None:
    for _ in range(100):
        assert accepts(quota, store, "1")
    assert store.reads == 0


def test_at_the_bound_rows_are_read_seldom(store: Store) -> None:
    quota = BuildQuota(128, store, store.unfinished.__contains__)
    for number in range(128):
        assert accepts(quota, store, f"{number}")
    for number in range(1000):
        assert not accepts(quota, store, f"new-{number}")
    assert store.reads <= 128 + 1000  # one for each new environment, and each of the others once
    store.unfinished.discard("for-1")
    assert not accepts(quota, store, "new", now_ms=NOW_MS + RECOUNT_MS - 1)
    assert accepts(quota, store, "new", now_ms=NOW_MS + RECOUNT_MS)


@pytest.mark.parametrize("later_ms", [RECOUNT_MS, -1])
def test_a_clock_that_is_set_back_delays_no_recount(store: Store, quota: BuildQuota, later_ms: int) -> None:
    assert [accepts(quota, store, id) for id in ("1", "2", "3")] == [True, True, False]
    store.unfinished.discard("for-1")
    assert accepts(quota, store, "3", now_ms=NOW_MS + later_ms)


def test_the_end_of_a_build_counts_at_once(store: Store, quota: BuildQuota) -> None:
    assert accepts(quota, store, "1")
    assert accepts(quota, store, "2")
    store.put("1", "started")
    assert not accepts(quota, store, "3")
    store.put("1", "installed")
    assert accepts(quota, store, "3")


def test_memory_is_bounded_however_many_environments_exist(store: Store, quota: BuildQuota) -> None:
    for number in range(100):
        store.put(f"{number}", "installed")
        assert accepts(quota, store, f"{number}")
    assert len(quota._accepted[OWNER]) <= 2


def test_the_error_names_the_field_and_the_limit(quota: BuildQuota) -> None:
    error = quota.refusal()
    assert (error.field, error.limit) == ("dependencies", 2)
    assert "max_unfinished_builds" in str(error)


def test_rows_are_counted_by_status_and_owner(store: Store) -> None:
    store.put("1", "queued")
    store.put("2", "started", OTHER)
    store.put("3", "installed")
    store.put("4", "queued", "")
    labels = [unfinished_by_owner(row) for row in store.rows.values()]
    assert labels == ["queued key/a", "started no-key", None, "queued "]
    counts = Counter(filter(None, labels))
    assert (unfinished_in("queued", counts), unfinished_in("started", counts)) == (2, 1)
    assert unfinished_by_owner(b"{") is None
    assert unfinished_by_owner(b'{"status": "queued"}') == "queued "  # of an earlier version
