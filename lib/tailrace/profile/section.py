"""What all sections of a profile share: frozen, without unknown keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65_535, description="a whole number from 0 to 65535, as 8080; 0 is any free port")]
UrlPath = Annotated[
    str, Field(pattern=r"^/[^\s]*$", description="a path that begins with /, without blanks, as /healthz")
]
EnvironmentName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="the name of an environment variable: letters, digits and _, no digit first, as MY_KEY",
    ),
]


class ProfileSection(BaseModel):
    """Base of all sections of a profile."""

    model_config = ConfigDict(frozen=True, extra="forbid")
