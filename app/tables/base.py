"""What every table shares: names of constraints, foreign keys, versions."""

from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Dialect, ForeignKeyConstraint, LargeBinary, MetaData, SmallInteger, Text
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
SQLModel.metadata.naming_convention = MetaData(naming_convention=NAMING_CONVENTION).naming_convention


# Rows written with every check-in carry no foreign key to the clinic: each check would lock the clinic's one row, for
# all writers at once. Their policy lets a transaction write its own clinic's rows alone, which says the same.
def to_clinic() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["clinic_id"], ["clinic.clinic_id"])


def to_patient() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["clinic_id", "patient_id"], ["patient.clinic_id", "patient.id"])


def version_checks() -> tuple[CheckConstraint, CheckConstraint]:
    return (
        CheckConstraint("version >= 1", name="version_from_one"),
        CheckConstraint("(version = 1) = (reason IS NULL)", name="reason_for_each_change"),
    )


class Sealed(TypeDecorator[Any]):
    """A text that names or describes a person. `services.sealing` seals and opens it; plain text is not stored."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:  # noqa: ARG002  # SQLAlchemy's signature
        if value is not None and not isinstance(value, bytes):
            raise TypeError("this text has to be sealed before it is stored")
        return value


@cache
def sealed_columns(table: type[SQLModel]) -> tuple[str, ...]:
    columns = SQLModel.metadata.tables[str(table.__tablename__)].columns
    return tuple(column.name for column in columns if isinstance(column.type, Sealed))


class Versioned(SQLModel):
    """What is never changed: a correction is the next version, a whole row with its reason. The highest is current."""

    clinic_id: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    version: int = Field(primary_key=True, sa_type=SmallInteger)
    recorded_at: datetime
    recorded_by: UUID  # token
    reason: str | None = Field(sa_type=Text)


class TreatmentRecord(Versioned):
    """A versioned thing of one patient. No foreign key leads to its parent: that has versions, and keeps them."""

    patient_id: UUID
    reason: str | None = Field(sa_type=Sealed)
