"""Secrets of a system on one machine: made once, kept in one folder, each readable only by its user.

ca.pem               the authority that clients trust; hand it to them with their password
USER.password        password of a user of the broker; the next start makes another if it is deleted
USER.env             settings for the commands of an operator, without secrets
broker.pem, ca.key, member.pem   see `infra.kafka.tls`
"""

import pwd
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from infra.accounts import close
from infra.kafka.embedded import SUPER_USER
from infra.kafka.tls import make_tls
from infra.secret_files import write_secret
from topics.catalogue import Catalogue
from topics.security.acls import ROLES, rights_of_roles
from topics.security.users import put_rights, put_user
from topics.settings import KafkaSettings

USERS = (SUPER_USER, *ROLES)
"""Kafka users that the system itself needs. `envicutor producers add` adds others."""
OPERATORS = (SUPER_USER, "operator")
"""Kafka users for people. Only root may read their passwords, as with worker and cache builder."""
_ROOT_ONLY = frozenset({*OPERATORS, "worker", "cache-builder"})


class Credentials:
    """Folder of passwords and certificates, and the users and rights on the broker that follow from it."""

    def __init__(self, folder: Path, service: pwd.struct_passwd | None) -> None:
        """Make the folder, the authority and the passwords that are missing. Close it to other accounts.

        `service` is the system user of the broker and the unprivileged roles, or None if they run as root.
        """
        self._folder = folder
        folder.mkdir(exist_ok=True)
        close(folder, service)
        self.tls = make_tls(folder, service)
        for user in USERS:
            file = self.password_file(user)
            if not file.exists():
                write_secret(file, new_password().encode(), None if user in _ROOT_ONLY else service)

    def password_file(self, user: str) -> Path:
        """Return the path of a user's password file."""
        return self._folder / f"{user}.password"

    def settings(self, plain: KafkaSettings, user: str) -> KafkaSettings:
        """Return `plain` with TLS and the login of a user."""
        return plain.model_copy(
            update={
                "security_protocol": "SASL_SSL",
                "ssl_ca_file": self.tls.ca_file,
                "ssl_certificate_file": self.tls.member_file,
                "sasl_username": user,
                "sasl_password_file": self.password_file(user),
            }
        )

    def put_in_force(
        self, admin_connection: Mapping[str, Any], settings: KafkaSettings, topics: Catalogue
    ) -> None:
        """Create the users and their ACLs on the broker, and write the .env files of the operators.

        Raises:
            KafkaException, TimeoutError: the broker refused, or did not answer.
        """
        admin = AdminClient(dict(admin_connection))
        for user in USERS:
            put_user(admin, user, self.password_file(user).read_text())
        put_rights(admin, ROLES, rights_of_roles(settings, topics))
        self._write_environments(settings)

    def _write_environments(self, plain: KafkaSettings) -> None:
        for user in OPERATORS:
            lines = (
                f"ENVICUTOR_{name}={value}\n"
                for name, value in environment(self.settings(plain, user)).items()
            )
            (self._folder / f"{user}.env").write_text("".join(lines))


def environment(settings: KafkaSettings) -> dict[str, object]:
    """Return the variables that connect a process to the broker and name the data folder, without prefix."""
    plain: dict[str, object] = {
        "BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "SECURITY_PROTOCOL": settings.security_protocol,
        "DATA_DIR": settings.data_dir,
    }
    if settings.security_protocol == "PLAINTEXT":
        return plain
    return plain | {
        "SSL_CA_FILE": settings.ssl_ca_file,
        "SSL_CERTIFICATE_FILE": settings.ssl_certificate_file,
        "SASL_USERNAME": settings.sasl_username,
        "SASL_PASSWORD_FILE": settings.sasl_password_file,
    }


def new_password() -> str:
    """Return a random password of 256 bits, which cannot be guessed."""
    return secrets.token_urlsafe(32)
