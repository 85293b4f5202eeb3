"""Installation of Kafka: jars by Maven, and the class archive that makes the broker start fast. Done once."""

import fcntl
import hashlib
import logging
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.kafka.embedded import Distribution, EmbeddedKafka

logger = logging.getLogger(__name__)

_POM = Path(__file__).with_name("pom.xml")
_FETCH_TIMEOUT_S = 600.0
_DUMP_TIMEOUT_S = 120.0
_PACKAGES = "`make system` installs it on Debian"


class KafkaInstallError(Exception):
    """Kafka cannot be installed. The message has the reason and the remedy."""


def install_kafka(cache_dir: Path) -> Distribution:
    """Return Kafka's jars and class archive below `cache_dir`. Make them if they are missing.

    The first call takes about half a minute.

    Raises:
        KafkaInstallError: Java or Maven is missing or failed, or `cache_dir` cannot be written.
    """
    java = _find("java", "a Java runtime, 17 or later")
    home = cache_dir / "kafka" / hashlib.sha256(_POM.read_bytes()).hexdigest()[:16]
    archive = home / f"classes-{_java_id(java)}.jsa"
    if not archive.exists():
        with _locked(home.parent):
            if not home.exists():
                _fetch_jars(home)
            if not archive.exists():
                _dump_classes(java, home, archive)
    return _distribution(java, home, f"-XX:SharedArchiveFile={archive}")


def _distribution(java: Path, home: Path, class_sharing: str) -> Distribution:
    return Distribution(java, jars=tuple(sorted((home / "lib").glob("*.jar"))), class_sharing=class_sharing)


def _find(program: str, meaning: str) -> Path:
    found = shutil.which(program)
    if not found:
        raise KafkaInstallError(f"`{program}` is missing ({meaning}): {_PACKAGES}")
    return Path(found)


def _java_id(java: Path) -> str:
    """Return a name for the JVM's build, since a class archive is valid only for the JVM that made it."""
    version = subprocess.run([java, "-version"], capture_output=True, check=True, timeout=60).stderr
    return hashlib.sha256(version).hexdigest()[:8]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time install. The kernel releases the lock when the process ends.

    Raises:
        KafkaInstallError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise KafkaInstallError(
            f"{folder} cannot be written ({error.strerror}): set another cache folder"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch_jars(home: Path) -> None:
    maven = _find("mvn", "Maven, to fetch Kafka")
    logger.info("Kafka: downloading the broker's jars with Maven (about 45 MB, once)")
    unfinished = home.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    fetched = subprocess.run(
        [
            *(
                maven,
                "-f",
                _POM,
                "--batch-mode",
                "--quiet",
                "--strict-checksums",
                "dependency:copy-dependencies",
            ),
            *("-DincludeScope=runtime", f"-DoutputDirectory={unfinished / 'lib'}"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_FETCH_TIMEOUT_S,
    )
    if fetched.returncode != 0:
        raise KafkaInstallError(f"Maven could not download Kafka:\n{fetched.stdout[-2000:]}")
    _open_to_all(unfinished)
    unfinished.rename(home)


def _dump_classes(java: Path, home: Path, archive: Path) -> None:
    """Run a broker once, and store the classes that it loaded in a class archive.

    Raises:
        KafkaInstallError: the JVM wrote no archive.
    """
    logger.info("Kafka: making the class archive for a fast start (once)")
    unfinished = archive.with_suffix(".unfinished")
    distribution = _distribution(java, home, f"-XX:ArchiveClassesAtExit={unfinished}")
    with tempfile.TemporaryDirectory(prefix="envicutor-kafka-") as folder:
        broker = EmbeddedKafka(Path(folder), distribution)
        broker.start()
        broker.stop(_DUMP_TIMEOUT_S)
    if not unfinished.exists():
        raise KafkaInstallError("the JVM wrote no class archive")
    unfinished.chmod(0o644)
    unfinished.rename(archive)


def _open_to_all(folder: Path) -> None:
    """Let all users read a folder, since the broker runs as a user of its own. The umask may forbid that."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    from infra.settings import LocalSettings

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    install_kafka(LocalSettings().cache_dir)
