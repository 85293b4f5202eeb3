"""The base of every model on the log: strict, closed, immutable."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Types are never coerced, unknown fields are refused, instances never change."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def read(cls, raw: str | bytes) -> Self:
        """What stands on a topic, in a local table or a dead letter.

        Fields of a later version are left out: while a cluster is upgraded, both versions are at work.

        Raises:
            pydantic.ValidationError: it is not JSON of this model.
        """
        return cls.model_validate_json(raw, extra="ignore")

    def replace(self, **changes: Any) -> Self:
        """Return a copy with `changes`, which the caller vouches for (they are not validated)."""
        return self.model_copy(update=changes)
