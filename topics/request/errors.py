"""Errors of a request that cannot be accepted."""

from topics.model import Model


class InvalidRequestError(ValueError):
    """The request cannot be accepted; `errors` have field, reason, and limit if there is one."""

    def __init__(self, errors: "tuple[FieldError, ...]") -> None:
        super().__init__("; ".join(map(str, errors)))
        self.errors = errors


class NotJsonError(InvalidRequestError):
    """The bytes of the request are not JSON."""


class RequestTooLargeError(InvalidRequestError):
    """The request has more bytes than are allowed."""


class FieldError(Model):
    """One error of a request."""

    field: str
    """Path of the field, such as `limits.run.wall_time_s` or `files.0.name`; empty for the whole request."""
    message: str
    """Reason of the error, for people."""
    limit: float | int | str | None = None
    """Limit that the field violates, such as its largest value; None if there is none."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message
