"""An exit handler may still use what a portal holds: portals are closed after handlers that were registered later."""

import atexit

from session import open_session

import aionest

held = aionest.portal().enter(open_session())


@atexit.register
def bye():
    print(held.call(held.value.ask, "bye"))


print("end of the program")
