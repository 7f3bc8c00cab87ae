"""Methods: named choices of operator, prior and solver."""

from xinverse.methods.table import MethodTable, table

__all__ = ["MethodTable", "table"]
