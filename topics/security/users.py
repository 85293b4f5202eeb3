"""Users of a broker and their rights: thin calls of Kafka's admin client, by a user who may alter them."""

import time
from collections.abc import Iterable
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from topics.security.acls import Rights, principal

_ITERATIONS = 4096
"""Iterations of SCRAM: Kafka's minimum. Passwords are random and long; more would only slow connections."""
_MECHANISM = ScramMechanism.SCRAM_SHA_512
_TIMEOUT_S = 30.0


def put_user(admin: AdminClient, name: str, password: str) -> None:
    """Create a user, or set another password.

    Raises:
        KafkaException: the broker refused, or did not answer.
    """
    credentials = ScramCredentialInfo(_MECHANISM, _ITERATIONS)
    put = UserScramCredentialUpsertion(name, credentials, password.encode())
    for future in admin.alter_user_scram_credentials([put]).values():
        future.result(_TIMEOUT_S)


def remove_user(admin: AdminClient, name: str) -> None:
    """Delete a user and its rights.

    Raises:
        KafkaException: there is no such user (RESOURCE_NOT_FOUND), or the broker refused.
    """
    put_rights(admin, [name], set())
    for future in admin.alter_user_scram_credentials(
        [UserScramCredentialDeletion(name, _MECHANISM)]
    ).values():
        future.result(_TIMEOUT_S)


def writers(admin: AdminClient, topic: str) -> list[str]:
    """Return the users that may write a topic.

    (If the broker refuses to list its users, confluent-kafka 2.16 corrupts its memory; ACLs are asked for.)

    Raises:
        KafkaException: the broker did not answer.
    """
    anything: Any = None
    asked = AclBindingFilter(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        anything,
        anything,
        AclOperation.WRITE,
        AclPermissionType.ALLOW,
    )
    found: list[AclBinding] = admin.describe_acls(asked).result(_TIMEOUT_S)
    return sorted(binding.principal.removeprefix(principal("")) for binding in found)


def put_rights(admin: AdminClient, names: Iterable[str], wanted: Rights) -> None:
    """Give these users exactly the rights `wanted`, and wait until the rights are in force.

    Raises:
        KafkaException: the broker refused.
        TimeoutError: the broker did not report the rights within half a minute.
    """
    principals = [principal(name) for name in names]
    found = _rights(admin, principals)
    if missing := sorted(wanted - found):
        for future in admin.create_acls(missing).values():
            future.result(_TIMEOUT_S)
    if superfluous := sorted(found - wanted):
        for future in admin.delete_acls([_exactly(binding) for binding in superfluous]).values():
            future.result(_TIMEOUT_S)
    deadline = time.monotonic() + _TIMEOUT_S
    while _rights(admin, principals) != wanted:
        if time.monotonic() > deadline:
            raise TimeoutError("the broker has not put the rights in force")
        time.sleep(0.05)


def _rights(admin: AdminClient, principals: Iterable[str]) -> Rights:
    anything: Any = None
    kinds, patterns = ResourceType.ANY, ResourcePatternType.ANY
    asked = [
        admin.describe_acls(
            AclBindingFilter(
                kinds, anything, patterns, whose, anything, AclOperation.ANY, AclPermissionType.ANY
            )
        )
        for whose in principals
    ]
    return {binding for future in asked for binding in future.result(_TIMEOUT_S)}


def _exactly(binding: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        binding.restype,
        binding.name,
        binding.resource_pattern_type,
        binding.principal,
        binding.host,
        binding.operation,
        binding.permission_type,
    )
