"""Which callback URLs are any, and which an operator allows."""

import json
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from topics.kafka.codec import encode
from topics.request.callback_urls import AllowedReceiver, refusal, target
from topics.request.errors import InvalidRequestError
from topics.request.limits import MiB
from topics.request.parsing import parse_request
from topics.settings import KafkaSettings

entry = TypeAdapter(AllowedReceiver).validate_python


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://hooks.example.org", "hooks.example.org:443"),
        ("http://HOOKS.example.org./a?b=c", "hooks.example.org:80"),
        ("http://127.0.0.1:9000/a", "127.0.0.1:9000"),
        ("https://[2001:DB8:0::1]/", "[2001:db8::1]:443"),
        ("http://[::1]:9000", "[::1]:9000"),
    ],
)
def test_a_url_is_allowed_by_its_place_alone(url: str, place: str) -> None:
    assert target(url).host_and_port == entry(place) == place
    assert refusal(url, [place]) is None
    others = [place + "0", "x" + place, "example.org:443", "[::ffff:127.0.0.1]:9000"]
    assert "ENVICUTOR_WEBHOOK_ALLOW" in (refusal(url, others) or "")


@pytest.mark.parametrize(
    "url",
    [
        *("", "hooks.example.org", "//hooks.example.org", "ftp://hooks.example.org", "file:///etc/passwd"),
        *("http://", "http:///a", "http://:80", "http://a:0", "http://a:65536", "http://a:", "http://a:8x"),
        *("http://user@a/", "http://user:secret@a/", "http://a@b:80@c/", "http://a\\@b/", "http://a#b"),
        *(
            "http://a b/",
            "http://a/ b",
            "http://a/\n",
            "http://a\t/",
            "http://a/é",
            "http://é/",
            "http://a%41",
        ),
        *("http://a..b/", "http://a../", f"http://{'a' * 64}.b/"),
        *("http://[::1", "http://::1/", "http://[::1%25lo]/", "http://[1.2.3.4]/", "http://a/" + "b" * 2048),
    ],
)
def test_what_is_no_url_of_ours_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must|is |no|At|Expected|permitted"):
        target(url)


@given(st.text(alphabet="htps:/@[].?#%\\ 19aAé&=_-", max_size=25).map("http:".__add__) | st.text(max_size=30))
@example("http://a@b")
def test_nobody_reads_it_otherwise(url: str) -> None:
    """What we take apart others take apart to the same, so that a check of one holds for another."""
    try:
        ours = target(url)
    except ValueError:
        return
    theirs, httpxs = urlsplit(url), httpx.URL(url)
    assert theirs.hostname is not None
    assert ours.host == theirs.hostname.removesuffix(".") == httpxs.host.removesuffix(".") or ":" in ours.host
    assert ours.port == (theirs.port or 80) == (httpxs.port or 80)
    assert (theirs.username, theirs.password, httpxs.userinfo) == (None, None, b"")


@pytest.mark.parametrize(
    "wrong", ["hooks.example.org", "https://hooks.example.org:443", "*:443", "a:0", ":80", "a..b:80"]
)
def test_an_entry_is_a_host_and_a_port(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVICUTOR_WEBHOOK_ALLOW", json.dumps([wrong]))
    with pytest.raises(ValidationError, match="webhook_allow"):
        KafkaSettings()


def test_a_request_is_refused_by_field_and_setting_before_it_is_on_the_log() -> None:
    raw = b'{"run": "true", "callback_url": "https://hooks.example.org/a"}'
    with pytest.raises(InvalidRequestError) as refused:
        parse_request(raw, MiB)
    [error] = refused.value.errors
    assert error.field == "callback_url"
    assert error.message == (
        "hooks.example.org:443 is not allowed: an operator must add it to ENVICUTOR_WEBHOOK_ALLOW"
    )
    with pytest.raises(InvalidRequestError, match="callback_url: must not contain a user"):
        parse_request(raw.replace(b"hooks", b"me@hooks"), MiB, ["hooks.example.org:443"])
    request, _ = parse_request(raw, MiB, ["hooks.example.org:443"])
    assert request.callback_url == "https://hooks.example.org/a"


def test_requests_without_one_stand_on_the_log_as_they_did_before() -> None:
    assert b"callback_url" not in encode(parse_request(b'{"run": "true"}', MiB)[0])
