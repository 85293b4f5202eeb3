"""Host checks for the broker and the roles: programs, users and ports."""

import pwd
from functools import partial

from infra.host.check import AbsentError, Check, programs
from infra.kafka.ports import is_free
from infra.settings import LocalSettings


def system_checks(local: LocalSettings) -> list[Check]:
    """Return the checks for Java, setpriv, the service user and the ports."""
    user = local.service_user
    return [
        Check(
            "Java and Maven",
            "Java runs the broker; Maven downloads its jars",
            "apt-get install openjdk-17-jre-headless maven",
            lambda: programs("java", "mvn"),
        ),
        Check(
            "setpriv",
            "starts roles so that they gain no privileges, and end when `up` ends",
            "apt-get install util-linux",
            lambda: programs("setpriv"),
        ),
        Check(
            "service user",
            "the broker and most roles run as this user",
            "make system, which adds envicutor; with ENVICUTOR_SERVICE_USER=root they run as root",
            lambda: _user(user),
        ),
        *(
            Check(
                f"port of {name}",
                f"{name} listens on it once the system is up",
                f"nothing if this system is the one that listens, else another ENVICUTOR_{name.upper()}_PORT",
                partial(_port, port),
                required=False,
            )
            for name, port in (("HTTP", local.http_port), ("Kafka", local.kafka_port))
        ),
    ]


def _user(name: str) -> str:
    try:
        return f"{name} has the id {pwd.getpwnam(name).pw_uid}"
    except KeyError:
        raise AbsentError(f"there is no user {name}") from None


def _port(port: int) -> str:
    if port and not is_free(port):
        raise AbsentError(f"another process listens on 127.0.0.1:{port}")
    return f"{port} is free" if port else "a free one will be chosen"
