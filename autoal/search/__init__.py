"""AutoAL itself: the search over candidate strategies, and the query that follows from it."""

import autoal.strategies  # noqa: F401  (first: its table of strategies names AutoAL, which is one of them)
