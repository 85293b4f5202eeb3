"""Two systems that start at the same time do not take each other's port."""

from infra.kafka.ports import choose_free_port, claim


def test_a_port_is_claimed_once() -> None:
    port = choose_free_port()
    first = claim(port)
    assert first is not None
    assert claim(port) is None
    first.close()
    again = claim(port)
    assert again is not None
    again.close()
