"""H: how the state is observed."""

from xinverse.operators.base import OPERATORS, Operator
from xinverse.operators.mask import Mask

__all__ = ["OPERATORS", "Mask", "Operator"]
