"""`tailrace load`: puts the generator (`load`) and the numbers (`analysis`) together; neither knows the other.

`document` is imported on its own: it brings pandas, which has to wait until the traffic is over.
"""

from tailrace.cli.load.options import Order

__all__ = ["Order"]
