"""What a client raises."""

from collections.abc import Sequence

from topics.request.model import FieldError


class ClientError(Exception):
    """There is no answer; the message says what to do."""


class RefusedError(ClientError):
    """The server does not accept the request (4xx): it must be changed."""

    def __init__(self, status: int, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.status, self.errors = status, tuple(errors)


class UnavailableError(ClientError):
    """The server could not be reached, did not answer, or says that it is too much now (429, 503); the same
    request with its id may be sent again."""
