"""How many connections each address may have."""

from ipaddress import ip_network

import pytest

from ingest.addresses import Addresses

TRUSTED = tuple(map(ip_network, ("127.0.0.0/8", "::1/128", "192.0.2.7/32")))


def test_an_address_may_have_so_many() -> None:
    addresses = Addresses(2, TRUSTED)
    assert [addresses.enter("198.51.100.1") for _ in range(3)] == [True, True, False]
    assert addresses.enter("198.51.100.2")
    addresses.leave("198.51.100.1")
    assert [addresses.enter("198.51.100.1") for _ in range(2)] == [True, False]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "192.0.2.7"])
def test_trusted_addresses_are_not_bounded(address: str) -> None:
    addresses = Addresses(1, TRUSTED)
    assert all(addresses.enter(address) for _ in range(3))
    addresses.leave(address)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2001:db8::1", "2001:db8::ffff:1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("fe80::1%eth0", "fe80::1%eth1"),
    ],
)
def test_addresses_that_one_host_may_use_count_together(first: str, second: str) -> None:
    addresses = Addresses(1, TRUSTED)
    assert (addresses.enter(first), addresses.enter(second)) == (True, False)
    assert addresses.enter("2001:db8:0:1::1")
