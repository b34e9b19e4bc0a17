"""SQLAlchemy asyncio: an event listener and a property that need coroutines."""

import asyncio

import aionest

aionest.apply()

from sqlalchemy import event, select  # noqa: E402
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine  # noqa: E402
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column  # noqa: E402


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    price: Mapped[int]

    @property
    def in_euro(self):
        return self.price * asyncio.run(rate("EUR"))  # in a session or outside


async def rate(currency):
    await asyncio.sleep(0.01)
    return {"EUR": 2}[currency]


async def look_up(name):
    await asyncio.sleep(0.01)
    return len(name)


@event.listens_for(Item, "before_insert")
def set_price(mapper, connection, item):  # by flush(), in a greenlet
    item.price = asyncio.run(look_up(item.name))


async def add(sessions, name):
    async with sessions.begin() as session:
        session.add(Item(name=name))


async def main():
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    sessions = async_sessionmaker(engine)
    for name in ("fig", "apple"):
        await add(sessions, name)
    async with sessions() as session:
        for item in await session.scalars(select(Item).order_by(Item.name)):
            print(item.name, item.price, item.in_euro)
        print(await session.run_sync(lambda sync: sync.get(Item, 1).in_euro))
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main())
