"""Accuracy without a truth: maps scored against observations that they have not seen."""

from xinverse.validation.validate import Validation, validate

__all__ = ["Validation", "validate"]
