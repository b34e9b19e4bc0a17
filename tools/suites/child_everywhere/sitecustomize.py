"""In a folder on PYTHONPATH: aionest is applied in each Python that the tests start (kernels, workers, servers), too."""

import aionest

aionest.apply()
