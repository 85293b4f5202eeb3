"""Selection of an answer's fields by the parameter `fields`."""

from ingest.models import SubmissionShown
from ingest.problems import ProblemError
from topics.request.errors import FieldError


def select(asked: str | None) -> set[str]:
    """Return the fields of an answer to send: those that were asked for, or all.

    Raises:
        ProblemError: 422 for a field that does not exist.
    """
    known = set(SubmissionShown.model_fields)
    wanted = set(asked.split(",")) if asked is not None else known
    if unknown := sorted(wanted - known):
        message = (
            f"there is no field {unknown[0][:100]!r}: there are {', '.join(SubmissionShown.model_fields)}"
        )
        errors = [FieldError(field="query.fields", message=message)]
        raise ProblemError(422, "invalid-parameters", f"query.fields: {message}", errors=errors)
    return wanted
