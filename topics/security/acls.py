"""Rights of the roles on a broker with users: Kafka's ACLs, made from the catalogue. Pure.

Users without ACLs have no rights. READ and WRITE imply DESCRIBE. WRITE to any topic implies the idempotent
writes of the roles' producers (KIP-679), so no user needs a right on the cluster.
"""

from typing import get_args

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from topics.catalogue import REQUEST_GROUP, SEALER_TRANSACTIONS, WEBHOOK_GROUP, Catalogue
from topics.kafka.clients import READER
from topics.settings import KafkaSettings
from topics.topic import Family, Role

ROLES: tuple[Role, ...] = tuple(role for role in get_args(Role) if role != "external")
"""Roles that run as a user of the broker, each under its own name."""

Rights = set[AclBinding]


def rights_of_roles(settings: KafkaSettings, topics: Catalogue) -> Rights:
    """Return the rights that the roles need, and no more."""
    groups = _Names(settings.topic_prefix)
    rights = _on_topics(topics)
    rights |= {groups.allow(role, ResourceType.GROUP, READER, AclOperation.DESCRIBE) for role in ROLES}
    rights |= _on_replies(topics)
    rights |= _of_family(groups, topics.submissions, store="submission-store", work="worker")
    rights |= _of_family(groups, topics.dependencies, store="build-store", work="cache-builder")
    return rights | {
        groups.allow("request-handler", ResourceType.GROUP, REQUEST_GROUP, AclOperation.READ),
        # `GET /ready` counts the workers.
        groups.allow("ingest", ResourceType.GROUP, topics.submissions.work_group, AclOperation.DESCRIBE),
        # A new table of ingest starts with the store, as of the store's committed offsets.
        groups.allow("ingest", ResourceType.GROUP, topics.submissions.store_group, AclOperation.DESCRIBE),
        groups.allow("webhook-sender", ResourceType.GROUP, WEBHOOK_GROUP, AclOperation.READ, prefixed=True),
        groups.allow("sealer", ResourceType.TRANSACTIONAL_ID, SEALER_TRANSACTIONS, AclOperation.WRITE),
    }


def rights_of_producer(settings: KafkaSettings, topics: Catalogue, name: str) -> Rights:
    """Return the rights of another system, the user `name`.

    It may produce requests, and read its answers in groups whose names begin with `name`.
    """
    groups = _Names(settings.topic_prefix)
    return {
        _allow(name, ResourceType.TOPIC, topics.requests.name, AclOperation.WRITE),
        _allow(name, ResourceType.TOPIC, topics.replies.name + name, AclOperation.READ),
        groups.allow(name, ResourceType.GROUP, f"{name}.", AclOperation.READ, prefixed=True),
    }


def _on_topics(topics: Catalogue) -> Rights:
    return {
        _allow(role, ResourceType.TOPIC, topic.name, operation)
        for topic in topics.topics()
        for roles, operation in ((topic.writers, AclOperation.WRITE), (topic.readers, AclOperation.READ))
        for role in roles
        if role != "external"
    }


def _on_replies(topics: Catalogue) -> Rights:
    """Return the rights on reply topics.

    Roles that write or promise an answer check first that the topic exists and takes large records.
    """
    needed: tuple[tuple[Role, AclOperation], ...] = (
        *((role, AclOperation.WRITE) for role in topics.replies.writers),
        ("submission-store", AclOperation.DESCRIBE_CONFIGS),
        ("request-handler", AclOperation.DESCRIBE_CONFIGS),
        ("request-handler", AclOperation.DESCRIBE),
    )
    name = topics.replies.name
    return {_allow(role, ResourceType.TOPIC, name, operation, prefixed=True) for role, operation in needed}


def _of_family(groups: "_Names", family: Family, *, store: Role, work: Role) -> Rights:
    group, transaction, topic = ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID, ResourceType.TOPIC
    checker: Role = "health-checker"
    changelog = (AclOperation.CREATE, AclOperation.READ, AclOperation.WRITE)
    return {
        groups.allow(store, group, family.store_group, AclOperation.READ),
        groups.allow(store, transaction, f"{family.store_group}-", AclOperation.WRITE, prefixed=True),
        # The store processor deletes consumed records of the queue.
        groups.allow(store, group, family.work_group, AclOperation.DESCRIBE),
        _allow(store, topic, family.queue.name, AclOperation.DELETE),
        groups.allow(work, group, family.work_group, AclOperation.READ),
        groups.allow(checker, group, family.checker_group, AclOperation.READ),
        *(
            groups.allow(checker, topic, f"{family.checker_group}-", operation, prefixed=True)
            for operation in changelog
        ),
        # Audits compare the log with the committed offsets of the groups.
        groups.allow("operator", group, family.store_group, AclOperation.DESCRIBE),
        groups.allow("operator", group, family.work_group, AclOperation.DESCRIBE),
    }


class _Names:
    """Names of groups and transactional ids, which the catalogue has without the system's prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def allow(
        self,
        user: str,
        kind: ResourceType,
        name: str,
        operation: AclOperation,
        *,
        prefixed: bool = False,
    ) -> AclBinding:
        return _allow(user, kind, self._prefix + name, operation, prefixed=prefixed)


def _allow(
    user: str, kind: ResourceType, name: str, operation: AclOperation, *, prefixed: bool = False
) -> AclBinding:
    pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
    return AclBinding(kind, name, pattern, principal(user), "*", operation, AclPermissionType.ALLOW)


def principal(user: str) -> str:
    """Return the principal of a user, as Kafka's ACLs name it."""
    return f"User:{user}"
