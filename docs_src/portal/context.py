import contextvars

import aionest

user = contextvars.ContextVar("user", default="nobody")


async def greet():
    greeting = f"hello {user.get()}"
    user.set("changed")
    return greeting


with aionest.Portal() as portal:
    user.set("Ann")
    print(portal.call(greet))
    print(user.get())
