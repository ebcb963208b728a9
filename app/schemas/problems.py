"""The one shape of every error (RFC 9457)."""

from pydantic import BaseModel, ConfigDict


class ProblemFault(BaseModel):
    pointer: str
    code: str
    message: str


class Problem(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "/problems/invalid",
                "title": "The content breaks a rule",
                "status": 422,
                "detail": "1 thing is wrong with the content.",
                "errors": [
                    {"pointer": "/responses/3", "code": "not_a_choice", "message": "This item has no such answer."}
                ],
            }
        }
    )

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemFault]
