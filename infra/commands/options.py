"""Values of options that several commands have."""

from enum import StrEnum


class AggregateName(StrEnum):
    """Aggregate that a command works on."""

    SUBMISSIONS = "submissions"
    DEPENDENCIES = "dependencies"
