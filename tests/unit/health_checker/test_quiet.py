import logging

from processors.health_checker.quiet import Seldom


def record(
    at_s: float, *, name: str = "library.part", message: str = "no answer from %s"
) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.ERROR, __file__, 1, message, (at_s,), None)
    made.created = at_s
    return made


def test_a_message_comes_once_in_a_period_whatever_its_arguments() -> None:
    seldom = Seldom("library", 10.0)
    assert [at_s for at_s in range(30) if seldom.filter(record(at_s))] == [0, 10, 20]


def test_other_messages_and_other_libraries_come() -> None:
    seldom = Seldom("library", 10.0)
    assert all(seldom.filter(record(0, message=message)) for message in ("one", "two"))
    assert all(seldom.filter(record(at_s, name="librarian")) for at_s in range(3))
