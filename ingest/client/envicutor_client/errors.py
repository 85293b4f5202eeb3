"""Errors that the clients raise."""

from collections.abc import Sequence

from envicutor_client.models import FieldError


class ClientError(Exception):
    """Base of the clients' errors; the message explains what to do."""


class RequestRefusedError(ClientError):
    """The server refused the request (4xx), which must be changed before it is sent again."""

    def __init__(self, status: int, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.status = status
        """HTTP status of the response."""
        self.errors = tuple(errors)
        """Fields that are wrong, if the error concerns any."""


class NoSuchLanguageError(ClientError, ValueError):
    """The server has no preset with a name, or for files with a suffix; the message has the names."""


class UnavailableError(ClientError):
    """The server did not answer, or has no capacity now (429, 503, 507).

    The same request may be sent again if it has an id.
    """
