"""Output of the programs in the sandbox.

The programs read data of a registry, so their output is validated and never trusted.
"""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nix.errors import DependenciesError

Text = Annotated[str, Field(max_length=1000)]
"""Name, version or address; longer ones are invalid."""


class ProgramAnswer(BaseModel):
    """JSON that one program prints; unknown and missing fields are errors."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


Kind = TypeVar("Kind", bound=BaseModel)


def read_answer(kind: type[Kind], printed: bytes) -> Kind:
    """Validate what a program printed as a model.

    Raises:
        DependenciesError: the output does not match the model.
    """
    try:
        return kind.model_validate_json(printed)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part)[:200] for part in first["loc"])
        raise DependenciesError(
            f"what the registry has is not valid: {place}: {first['msg'][:500]}"
        ) from None
