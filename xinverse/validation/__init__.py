"""Accuracy without a truth: maps scored against observations that they have not seen."""

from xinverse.validation.report import Validation
from xinverse.validation.validate import validate

__all__ = ["Validation", "validate"]
