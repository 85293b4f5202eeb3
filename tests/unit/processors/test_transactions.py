"""When an open transaction is an alert."""

from processors.store.transactions import OPEN_S, OpenTransactions, StableAndEnd


def test_a_transaction_that_stays_open_is_told_again_and_again_until_it_ends() -> None:
    transactions = OpenTransactions()
    assert transactions.open_too_long({0: StableAndEnd(5, 9), 1: StableAndEnd(3, 3)}, 0.0) == []
    assert transactions.open_too_long({0: StableAndEnd(5, 12), 1: StableAndEnd(3, 3)}, OPEN_S) == []
    assert transactions.open_too_long({0: StableAndEnd(5, 12), 1: StableAndEnd(3, 3)}, OPEN_S + 1) == [0]
    assert transactions.open_too_long({0: StableAndEnd(5, 12), 1: StableAndEnd(3, 3)}, OPEN_S + 11) == [0]
    assert transactions.open_too_long({0: StableAndEnd(14, 14), 1: StableAndEnd(3, 3)}, OPEN_S + 21) == []


def test_transactions_one_after_the_other_are_none() -> None:
    transactions = OpenTransactions()
    for step in range(100):
        assert transactions.open_too_long({0: StableAndEnd(step, step + 2)}, 10.0 * step) == []
