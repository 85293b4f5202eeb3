"""The base class of every model on the log: strict, closed, immutable."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Base class: types are never coerced, unknown fields are refused, instances are immutable."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
    )

    @classmethod
    def read(cls, raw: str | bytes) -> Self:
        """Parse a value from a topic, a local table or a dead letter.

        Unknown fields are ignored: while a cluster is upgraded, records of a later version are read, too.

        Raises:
            pydantic.ValidationError: the value is not JSON of this model.
        """
        return cls.model_validate_json(raw, extra="ignore")

    def replace(self, **changes: Any) -> Self:
        """Return a copy with `changes`, which are not validated: the caller ensures that they are valid."""
        return self.model_copy(update=changes)
