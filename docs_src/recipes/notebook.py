"""Jupyter: each part is a cell. The kernel's own loop runs all the while and is not held up."""

# %%
from session import open_session

import aionest

portal = aionest.portal()
held = portal.enter(open_session())

# %%
print(held.call(held.value.ask, "one"))

# %%
print(*portal.map(held.value.ask, ["two", "three"]))

# %%
held.close()
