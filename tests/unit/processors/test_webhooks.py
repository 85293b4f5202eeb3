"""Webhooks without a network: addresses, signatures, pauses, offsets."""

import base64
import ipaddress
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from processors.webhooks.addresses import ForbiddenError, is_public, permitted
from processors.webhooks.backoff import pause_s
from processors.webhooks.intake import MOST_OPEN, MOST_OPEN_BYTES, OpenRecords
from processors.webhooks.signing import SecretError, new_secret, read_secrets, signed_headers
from topics.submissions.webhook import BODY_BYTES

OWN = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
    *("::/127", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "2001:db8::/32", "64:ff9b:1::/48"),
]
own_addresses = st.sampled_from(OWN).flatmap(lambda network: st.ip_addresses(network=network))


@given(own_addresses)
def test_no_address_of_a_network_of_ones_own_is_public(address: ipaddress.IPv4Address) -> None:
    assert not is_public(address)
    with pytest.raises(ForbiddenError, match="ENVICUTOR_WEBHOOK_ALLOW"):
        permitted("a", [str(address)], 80, ["a:80", f"{address}:81"])


@given(st.ip_addresses(v=4))
def test_an_address_that_stands_for_another_is_judged_as_that_one(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for disguised in (
        *(ipaddress.IPv6Address(prefix | number) for prefix in (0xFFFF << 32, 0x64FF9B << 96)),
        ipaddress.IPv6Address(0x2002 << 112 | number << 80),
        ipaddress.IPv6Address(0x20010000 << 96 | number ^ 0xFFFFFFFF),
    ):
        assert is_public(disguised) == is_public(address)


def test_public_ones_and_those_that_are_named_may_be_told() -> None:
    found = ["10.0.0.1", "8.8.8.8", "::1", "2606:4700::1111"]
    assert permitted("a", found, 80, []) == ["8.8.8.8", "2606:4700::1111"]
    assert permitted("a", found, 80, ["10.0.0.1:80", "[::1]:80"]) == found
    assert permitted("127.0.0.1", ["127.0.0.1"], 80, ["127.0.0.1:80"]) == ["127.0.0.1"]


def test_the_example_of_the_scheme(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    headers = signed_headers(
        read_secrets(file), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_each_secret_signs(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text(f"{new_secret()}\n{new_secret()}\n")
    one, two = signers = read_secrets(file)
    both = signed_headers(signers, "id", 1, b"body")["webhook-signature"]
    assert both.split() == [
        signed_headers([signer], "id", 1, b"body")["webhook-signature"] for signer in (one, two)
    ]
    headers = signed_headers(signers, "id", int(time.time()), '{"name": "ü"}'.encode())
    for secret in file.read_text().split():
        assert Webhook(secret).verify('{"name": "ü"}', headers) == {"name": "ü"}


SHORT = "whsec_" + base64.b64encode(b"x" * 23).decode()
LONG = "whsec_" + base64.b64encode(b"x" * 24).decode()


@pytest.mark.parametrize("wrong", ["", "secret", "whsec_", "whsec_???", SHORT, f"{LONG}\n{SHORT}"])
def test_what_is_no_secret_is_refused_and_not_shown(wrong: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(wrong)
    with pytest.raises(SecretError, match="whsec_") as refused:
        read_secrets(file)
    assert SHORT not in str(refused.value)
    with pytest.raises(SecretError, match="No such file"):
        read_secrets(tmp_path / "nowhere")


def test_pauses_grow_up_to_an_hour() -> None:
    assert [pause_s(5, tries) for tries in range(1, 8)] == [5, 20, 80, 320, 1280, 3600, 3600]
    assert pause_s(5, 10**6) == 3600


def test_what_is_committed_lies_below_everything_that_is_open() -> None:
    records = OpenRecords()
    for offset in (5, 6, 9):  # there are gaps: markers of transactions
        records.add(0, offset, 1)
    records.remove(0, 6)
    assert records.to_commit() == {0: 5}
    assert records.to_commit() == {}
    records.remove(0, 5)
    assert records.to_commit() == {0: 9}
    records.remove(0, 9)
    assert records.to_commit() == {0: 10}
    records.add(1, 0, 1)
    records.drop([0])
    records.remove(0, 5)
    assert records.to_commit() == {1: 0}


def test_open_records_are_bounded_in_number_and_in_bytes() -> None:
    records = OpenRecords()
    assert records.room == MOST_OPEN_BYTES // BODY_BYTES
    for offset in range(MOST_OPEN):
        records.add(0, offset, 1)
    assert records.room == 0
    records.remove(0, 0)
    assert records.room == 1
    records.drop([0])
    for offset in range(records.room):
        records.add(1, offset, BODY_BYTES)
    assert records.room == 0
    records.remove(1, 0)
    records.remove(1, 0)
    assert records.room == 1
