"""What registries say, and what is made of it."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from nix.artifacts import ResolvedArtifact, check, hash_of, host_of
from nix.contents import Contents
from nix.errors import CacheError, DependenciesError, TransientError
from nix.registries import npm, pypi
from nix.registries.answers import read_answer
from nix.registries.relay import Relay, destination
from nix.settings import NixSettings

SETTINGS = NixSettings(
    pypi_index="https://index.test/simple",
    pypi_file_hosts=("files.test", "more.test:8443"),
    npm_registry="https://npm.test:444/",
)
SHA256, SHA512 = f"sha256:{'0' * 64}", f"sha512:{'0' * 128}"
INTEGRITY = "sha512-" + "A" * 86 + "=="


def wheel(url: str, hash: str = SHA256) -> ResolvedArtifact:
    return ResolvedArtifact("pypi", "a", "1.0", url, hash)


def package(
    url: str = "https://npm.test:444/a/-/a-1.0.0.tgz", place: str = "node_modules/a"
) -> ResolvedArtifact:
    return ResolvedArtifact("npm", "a", "1.0.0", url, SHA512, place)


def test_archives_come_from_the_hosts_that_are_configured() -> None:
    check([wheel("https://files.test/a.whl"), wheel("https://more.test:8443/a.whl"), package()], SETTINGS)
    check([package(place="node_modules/@s/a/node_modules/b.c")], SETTINGS)


@pytest.mark.parametrize(
    ("artifact", "told"),
    [
        (wheel("https://elsewhere.test/a"), "not on the registry"),
        (wheel("https://files.test:444/a"), "not on the registry"),
        (wheel("https://files.test@elsewhere.test/a"), "not on the registry"),
        (wheel("https://me:secret@files.test/a"), "not on the registry"),
        (wheel("http://files.test/a"), "not on the registry"),
        (wheel("file:///etc/passwd"), "not on the registry"),
        (wheel("git+https://files.test/a"), "not on the registry"),
        (wheel("https://npm.test:444/a"), "not on the registry"),
        (package("https://files.test/a"), "not on the registry"),
        (wheel("https://files.test/a.whl", ""), "gives no sha256"),
        (wheel("https://files.test/a.whl", "md5:0"), "gives no sha256"),
        (wheel("https://files.test/a.tar.gz"), "is no wheel"),
        (wheel("https://files.test/a?x.whl"), "is no wheel"),
        (package(place="node_modules/../../a"), "no place"),
        (package(place="node_modules/a/../b"), "no place"),
        (package(place="/node_modules/a"), "no place"),
        (package(place=""), "no place"),
    ],
)
def test_others_are_refused(artifact: ResolvedArtifact, told: str) -> None:
    with pytest.raises(DependenciesError, match=told):
        check([artifact], SETTINGS)


def test_a_resolution_has_its_bounds() -> None:
    with pytest.raises(DependenciesError, match="2001 others, and 2000 are the most"):
        check([package()] * 2001, SETTINGS)


@pytest.mark.parametrize(
    "setting",
    [
        {"pypi_index": "http://index.test"},
        {"pypi_index": "https://me:secret@index.test"},
        {"npm_registry": "--registry"},
        {"npm_registry": "https://npm.test/?a=b"},
        {"pypi_file_hosts": ["https://files.test"]},
    ],
)
def test_settings_are_plain_addresses(setting: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="is not a"):
        NixSettings(**setting)


def test_integrity_is_read() -> None:
    assert hash_of(INTEGRITY) == SHA512
    assert hash_of(f"sha1-AAAA {INTEGRITY}?foo") == SHA512
    assert {hash_of(text) for text in ("", "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "sha512-AAAA", "x")} == {""}
    assert host_of("https://Files.test/x") == ("files.test", 443)


@pytest.mark.parametrize(
    ("head", "host"),
    [
        (b"CONNECT files.test:443 HTTP/1.1\r\nHost: x\r\n\r\n", ("files.test", 443)),
        (b"CONNECT FILES.test:443 HTTP/1.0\r\n\r\n", ("files.test", 443)),
        (b"CONNECT files.test:80 HTTP/1.1\r\n\r\n", ("files.test", 80)),
        (b"CONNECT files.test.other.test:443 HTTP/1.1\r\n\r\n", ("files.test.other.test", 443)),
        (b"CONNECT files.test HTTP/1.1\r\n\r\n", None),
        (b"GET https://files.test/ HTTP/1.1\r\n\r\n", None),
        (b"connect files.test:443 HTTP/1.1\r\n\r\n", None),
        (b"CONNECT files.test:443 HTTP/1.1\nX\r\n\r\n", None),
        (b"CONNECT files.test\0:443 HTTP/1.1\r\n\r\n", None),
        (b"\xff\xfe\r\n\r\n", None),
    ],
)
def test_the_relay_reads_where_to(head: bytes, host: tuple[str, int] | None) -> None:
    assert destination(head) == host


def lock(**entry: Any) -> dict[str, npm.LockEntry]:
    plain = {"version": "1.0.0", "resolved": "https://npm.test:444/a.tgz", "integrity": INTEGRITY}
    return {"": npm.LockEntry(), "node_modules/a": npm.LockEntry(**(plain | entry))}


def test_a_lock_file_is_read() -> None:
    assert npm.artifacts(lock()) == [
        ResolvedArtifact("npm", "a", "1.0.0", "https://npm.test:444/a.tgz", SHA512, "node_modules/a")
    ]
    assert npm.artifacts(lock(name="other"))[0].name == "other"


@pytest.mark.parametrize(
    "entry",
    [
        {"inBundle": True},
        {"os": ["win32", "darwin"]},
        {"os": ["!linux"]},
        {"cpu": "sparc"},
        {"libc": ["musl"]},
    ],
)
def test_what_is_not_for_this_machine_or_comes_with_another_is_left_out(entry: dict[str, Any]) -> None:
    assert npm.artifacts(lock(**entry)) == []
    assert npm.artifacts(lock(os=["linux"], libc=["glibc"])) != []


@pytest.mark.parametrize(
    "entry", [{"resolved": "git+ssh://git@x/y"}, {"resolved": ""}, {"link": True}, {"resolved": "file:x"}]
)
def test_what_does_not_come_from_the_registry_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(DependenciesError, match="not on the registry"):
        npm.artifacts(lock(**entry))


def found(**changes: Any) -> pypi.PypiResolution:
    plain = {"name": "a", "version": "1.0", "url": "https://files.test/a#sha256=x", "sha256": "0" * 64}
    wheels = (pypi.Wheel(**(plain | {"yanked": False} | changes)),)
    return pypi.PypiResolution(exit_code=0, python_version="3.11", messages="", artifacts=wheels)


def failed(messages: str, **changes: Any) -> pypi.PypiResolution:
    return pypi.PypiResolution(exit_code=1, messages=messages, **changes)


def test_a_report_of_pip_is_read() -> None:
    assert pypi.artifacts(found()) == [wheel("https://files.test/a")]
    assert pypi.artifacts(found(sha256=None))[0].hash == ""
    with pytest.raises(DependenciesError, match=r"a==1\.0 was withdrawn .*: no reason is given"):
        pypi.artifacts(found(yanked=True))


def test_the_host_s_python_must_be_that_of_the_package_set() -> None:
    pypi.check_python("3.11", "3.11")
    with pytest.raises(TransientError, match=r"for the package set's Python 3\.13: .* has Python 3\.11"):
        pypi.check_python("3.11", "3.13")


def explained(messages: str, files: list[str] | None) -> str:
    missing = pypi.Missing(name="a", files=files)
    error = pypi.explain(failed(messages, missing=missing), "3.11", Relay(frozenset()))
    assert isinstance(error, DependenciesError)
    return str(error)


def test_why_pip_finds_nothing_is_told() -> None:
    said = "ERROR: Could not find a version that satisfies the requirement a==2.0 (from versions: none)\n"
    assert "no package of this name" in explained(said, None)
    assert (
        explained(said, ["a-1.9.tar.gz", "a-1.10.zip", "x"]) == "a has no version 2.0; the last are 1.9, 1.10"
    )
    assert "only wheels are installed; it has a-2.0.tar.gz" in explained(said, ["a-2.0.tar.gz", "a-20.0.zip"])
    assert "Could not find" in explained(said, [])


def test_whose_fault_it_is_is_told() -> None:
    relay = Relay(frozenset())
    for code, kind in {
        "E404": DependenciesError,
        "EWHATEVER": TransientError,
        "ECONNRESET": CacheError,
        "E503": CacheError,
        "ERR_SOCKET_TIMEDOUT": CacheError,
        "UNABLE_TO_GET_ISSUER_CERT_LOCALLY": CacheError,
        "UNABLE_TO_VERIFY_LEAF_SIGNATURE": CacheError,
    }.items():
        assert type(npm.explain(f"npm error code {code}\nnpm error 404 x", relay)) is kind
    assert type(pypi.explain(failed("WARNING: Retrying (Retry("), "", relay)) is CacheError
    assert type(pypi.explain(failed("", fault="HTTP Error 403"), "", relay)) is TransientError
    relay.refused += ["files.test"] * 1000
    told = (
        "something that the packages need is on files.test, which is not configured: "
        "the operator must set ENVICUTOR_PYPI_FILE_HOSTS='[\"files.test\"]'"
    )
    assert told in str(pypi.explain(failed(""), "", relay))
    assert len(relay.refused) == 20
    relay.refused.append("")
    assert type(pypi.explain(failed(""), "", relay)) is DependenciesError
    relay.faults.append("files.test:443: refused")
    assert type(npm.explain("npm error code E404\n", relay)) is CacheError


def test_pip_builds_nothing_whatever_it_is_given(tmp_path: Path) -> None:
    """Here a source archive that is listed, which our options would not let it look at."""
    with tarfile.open(tmp_path / "evil-1.0.tar.gz", "w:gz") as tar:
        script = b"raise SystemExit('executed')\n"
        info = tarfile.TarInfo("evil-1.0/setup.py")
        info.size = len(script)
        tar.addfile(info, io.BytesIO(script))
    pip = (sys.executable, "-m", "nix.registries.inside.wheels_only", "install", "--dry-run", "--no-index")
    for source in (("evil", f"--find-links={tmp_path}"), (f"evil @ file://{tmp_path}/evil-1.0.tar.gz",)):
        ran = subprocess.run([*pip, *source], capture_output=True, text=True, check=False)
        assert ran.returncode == 1
        assert "executed" not in ran.stderr
        assert "only wheels that the index lists are installed" in ran.stderr


@pytest.mark.parametrize("printed", [b"", b"[]", b'{"exit_code": 0}', b'{"exit_code": "0", "messages": ""}'])
def test_what_is_printed_inside_is_not_believed(printed: bytes) -> None:
    for kind in (npm.NpmResolution, pypi.PypiResolution):
        with pytest.raises(DependenciesError, match="what the registry has is not valid"):
            read_answer(kind, printed)


def test_contents_keep_their_key_until_the_format_of_environments_changes() -> None:
    """It names what lies in caches."""
    plain = Contents([], "amd64")
    assert plain.key() == "6a24cf6fc2f3139f293f86eef381a3d9b062bf9e6605d68a9c687c3735a4b3ea"
    one, other = Contents([], "amd64", {}, (package(),)), Contents([], "amd64", {}, (wheel("https://x"),))
    assert len({plain.key(), one.key(), other.key()}) == 3


def test_the_settings_name_no_registry() -> None:
    settings = NixSettings()
    assert (settings.pypi_index, settings.npm_registry, settings.pypi_file_hosts) == ("", "", ())
