"""What all sections of a profile share: frozen, without unknown keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class ProfileSection(BaseModel):
    """Base of all sections of a profile."""

    model_config = ConfigDict(frozen=True, extra="forbid")
