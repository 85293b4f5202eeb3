"""What the broker and the roles need."""

import pwd
from functools import partial

from infra.host.check import AbsentError, Check, programs
from infra.kafka.ports import is_free
from infra.settings import LocalSettings


def system_checks(local: LocalSettings) -> list[Check]:
    """Java, users and ports."""
    user = local.service_user
    return [
        Check(
            "Java and Maven",
            "the broker runs on the one and is fetched by the other",
            "apt-get install openjdk-17-jre-headless maven",
            lambda: programs("java", "mvn"),
        ),
        Check(
            "setpriv",
            "roles are started through it: they gain no privileges and die with `up`",
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
                f"{name} listens there once the system is up",
                f"nothing if it is this system that listens, else another ENVICUTOR_{name.upper()}_PORT",
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
        raise AbsentError(f"something listens on 127.0.0.1:{port}")
    return f"{port} is free" if port else "a free one will be chosen"
