"""How much was asked for of late, so that limits hold over all processes."""

from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Integer, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel


class RequestRate(SQLModel, table=True):
    """The requests of one token, or of one address, in the last slots of ten seconds.

    An address is of no clinic: its rows stand under the nil UUID, which no clinic has, and are bound to that.
    """

    __tablename__: ClassVar[Any] = "request_rate"
    __table_args__ = (
        CheckConstraint("kind IN ('token', 'address', 'failed_login')", name="kind_known"),
        CheckConstraint(f"(kind = 'token') = (clinic_id <> '{UUID(int=0)}')", name="address_of_no_clinic"),
        CheckConstraint("cardinality(used) = 7", name="slots_of_a_minute"),
        {"prefixes": ["UNLOGGED"]},
    )

    clinic_id: UUID = Field(primary_key=True)
    kind: str = Field(primary_key=True, sa_type=Text)
    key: str = Field(primary_key=True, sa_type=Text)  # a token's id, or an address
    slot: int = Field(sa_type=BigInteger)  # the newest one: tens of seconds since 1970
    used: list[int] = Field(sa_type=ARRAY(Integer))  # of seven slots, newest first
