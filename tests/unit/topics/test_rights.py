"""Rights that are made from the catalogue; that a broker keeps to them is an integration test."""

import pytest
from confluent_kafka.admin import AclOperation, ResourceType
from pydantic import ValidationError

from topics.catalogue import catalogue
from topics.security.acls import ROLES, principal, rights_of_producer, rights_of_roles
from topics.settings import KafkaSettings

SETTINGS = KafkaSettings(topic_prefix="one-")
TOPICS = catalogue(SETTINGS)
RIGHTS = rights_of_roles(SETTINGS, TOPICS)


def test_rights_end_where_the_system_does() -> None:
    """Another one on the same broker has another prefix."""
    for right in RIGHTS | rights_of_producer(SETTINGS, TOPICS, "school"):
        assert right.name.startswith("one-"), right
        assert right.restype in {ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID}


def test_each_role_has_rights_and_nobody_else() -> None:
    assert {right.principal for right in RIGHTS} == {principal(role) for role in ROLES}


def test_one_role_writes_each_store() -> None:
    for topic in (TOPICS.submissions.store, TOPICS.dependencies.store):
        may = [r.principal for r in RIGHTS if (r.name, r.operation) == (topic.name, AclOperation.WRITE)]
        assert may == [principal(topic.writers[0])]


def test_a_user_without_a_password_is_no_setting() -> None:
    with pytest.raises(ValidationError, match="needs sasl_username and sasl_password_file"):
        KafkaSettings(security_protocol="SASL_SSL", sasl_username="worker")
