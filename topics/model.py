"""The base of every model on the log: strict, closed, immutable."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Types are never coerced, unknown fields are refused, instances never change."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with `changes`, which the caller vouches for (they are not validated)."""
        return self.model_copy(update=changes)
