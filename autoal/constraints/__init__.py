"""What may not be asked, and how much of what: rules that every query obeys, whatever strategy makes it."""

from autoal.constraints.constraints import Constraints, as_constraints
from autoal.constraints.walk import ShortQueryWarning, query, random_sample

__all__ = ["Constraints", "ShortQueryWarning", "as_constraints", "query", "random_sample"]
