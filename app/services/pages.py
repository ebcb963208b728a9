"""A page of a list that runs from newest to oldest, as every list of the API that is read by time does."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import tuple_
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from app.paging import PageRequest


async def newest_first(session: AsyncSession, query: Any, at: Any, id_: Any, page: PageRequest) -> Sequence[Any]:
    """The rows behind the place the page begins at; one more than it holds, if there is one.

    `at` and `id_` are columns of the table whose index has them in this order.
    """
    place = (col(at), col(id_))
    if page.after is not None:
        query = query.where(tuple_(*place) < (page.after.at, page.after.id))
    query = query.order_by(*(part.desc() for part in place)).limit(page.limit + 1)
    rows: Sequence[Any] = (await session.exec(query)).all()
    return rows
