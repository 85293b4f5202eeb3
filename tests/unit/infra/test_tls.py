"""The authority of a system and its certificates."""

import ssl
import subprocess
from pathlib import Path

from infra.kafka.tls import make_tls


def is_signed(file: Path, ca_file: Path) -> bool:
    verified = ["openssl", "verify", "-x509_strict", "-CAfile", str(ca_file), str(file)]
    return subprocess.run(verified, capture_output=True, check=False).returncode == 0


def test_a_folder_of_an_earlier_version_gets_what_is_missing(tmp_path: Path) -> None:
    tls = make_tls(tmp_path, None)
    before = tls.ca_file.read_bytes(), tls.broker_file.read_bytes()
    tls.member_file.unlink()
    assert make_tls(tmp_path, None) == tls
    assert (tls.ca_file.read_bytes(), tls.broker_file.read_bytes()) == before
    assert is_signed(tls.member_file, tls.ca_file)
    ssl.create_default_context().load_cert_chain(tls.member_file)


def test_another_authority_signs_all_anew(tmp_path: Path) -> None:
    tls = make_tls(tmp_path, None)
    before = tls.member_file.read_bytes()
    for name in ("ca.pem", "ca.key", "broker.pem"):
        (tmp_path / name).unlink()
    make_tls(tmp_path, None)
    assert tls.member_file.read_bytes() != before
    assert is_signed(tls.member_file, tls.ca_file)
    assert is_signed(tls.broker_file, tls.ca_file)
