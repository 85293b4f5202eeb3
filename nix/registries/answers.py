"""What programs in the sandbox print: they read what came from a registry, so nothing is taken on trust."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nix.errors import DependenciesError

Text = Annotated[str, Field(max_length=1000)]
"""A name, a version, an address."""


class ProgramAnswer(BaseModel):
    """Of one program."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


Kind = TypeVar("Kind", bound=BaseModel)


def read_answer(kind: type[Kind], printed: bytes) -> Kind:
    """Read what a program printed. Raises DependenciesError if it is not what it should be."""
    try:
        return kind.model_validate_json(printed)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part)[:200] for part in first["loc"])
        raise DependenciesError(
            f"what the registry has is not valid: {place}: {first['msg'][:500]}"
        ) from None
