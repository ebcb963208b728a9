"""The one shape of every error (RFC 9457)."""

from pydantic import BaseModel, Field


class ProblemFault(BaseModel):
    """One thing wrong with the input."""

    pointer: str = Field(description="JSON pointer into the body, or `query/`, `path/`, `header/` and a name.")
    code: str
    message: str = Field(description="For people. Never repeats the input.")


class Problem(BaseModel):
    """Every error has this shape."""

    type: str = Field(description="Address of the page that explains it; stable, to be branched on.")
    title: str
    status: int
    detail: str = Field(description="For people. Never repeats the input.")
    errors: list[ProblemFault]
