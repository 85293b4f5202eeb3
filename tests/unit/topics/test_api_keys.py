"""What an API key is, and until when."""

import hashlib

from topics.security.api_keys import ApiKey, Scope, digest, new_id, new_key

KEY = ApiKey(id="one", name="one", scopes=(Scope.READ,), created_at="2026-01-01T00:00:00.000Z")
NOW, LATER = "2026-01-02T00:00:00.000Z", "2026-01-02T00:00:00.001Z"


def test_a_key_is_long_and_found_by_its_digest() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key.removeprefix("envicutor_")) for key in keys} == {43}  # 32 bytes, base64
    assert digest("envicutor_a") == hashlib.sha256(b"envicutor_a").hexdigest()
    assert digest("\udcff")  # whatever stood in a header


def test_ids_are_short_and_not_drawn_twice() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000
    assert len(new_id()) == 12


def test_until_when_it_is_good() -> None:
    assert KEY.state(NOW) == "active"
    assert KEY.replace(expires_at=LATER).state(NOW) == "active"
    assert KEY.replace(expires_at=NOW).state(NOW) == "expired"
    assert KEY.replace(revoked_at=NOW, expires_at=NOW).state(NOW) == "revoked"
