"""The model card: what weights were trained for, and whether a field fits."""

from __future__ import annotations

import json
import reprlib
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from xinverse.checks import is_number
from xinverse.errors import UnitsError, WeightsError
from xinverse.weights.field_checks import (
    Labelled,
    check_space,
    check_time,
    check_units,
    check_variable,
)
from xinverse.weights.json_text import parse

if TYPE_CHECKING:
    from xinverse.fields.grid import Grid

__all__ = ["ModelCard"]

PAIR = 2


@dataclass(frozen=True)
class ModelCard:
    """Description of a set of weights: what it was trained for, and how.

    Parameters
    ----------
    name : str
        The name of the weights, such as ``"ssh-qg"``.
    method : str
        The method that the weights belong to, such as ``"4dvarnet"``.
    summary : str
        One sentence for the user.
    variables : tuple of str
        CF standard names and short names of the variables that the weights
        accept, compared without regard to case.
    units : str
        The units that a field must have.
    grid_spacing_km : (float, float)
        Smallest and largest grid spacing, in km; both dy and dx must lie within.
    time_step_days : float
        The time step, in days; a field's must agree within 10 %.
    window : int
        Length of the time window, in steps.
    training : str
        What the weights were trained on.
    scores : dict
        Scores on withheld data, as JSON values.
    licence : str
        Licence of the weights.
    command : str
        The command that made the weights.
    config : dict
        The configuration of the network, as JSON values (a tuple becomes a list).

    Raises
    ------
    WeightsError
        A value is of the wrong kind or cannot be written as JSON.
    """

    name: str
    method: str
    summary: str
    variables: tuple[str, ...]
    units: str
    grid_spacing_km: tuple[float, float]
    time_step_days: float
    window: int
    training: str
    scores: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    command: str = ""
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the types, and convert lists and numbers to one form."""
        for key in ("name", "method", "summary", "units", "training", "licence", "command"):
            self._expect(key, isinstance(getattr(self, key), str), "a string")
        self._expect("name", bool(self.name), "a name that is not empty")
        # Values read from JSON may be of any type.
        variables: object = self.variables
        self._expect(
            "variables",
            isinstance(variables, list | tuple)
            and bool(variables)
            and all(isinstance(v, str) for v in variables),
            "a list of at least one variable name",
        )
        spacing: object = self.grid_spacing_km
        self._expect(
            "grid_spacing_km",
            isinstance(spacing, list | tuple)
            and len(spacing) == PAIR
            and all(is_number(v) for v in spacing)
            and 0 < spacing[0] <= spacing[1],
            "two numbers, 0 < smallest <= largest, in km",
        )
        self._expect(
            "time_step_days",
            is_number(self.time_step_days) and self.time_step_days > 0,
            "a number of days above 0",
        )
        whole = is_number(self.window) and self.window == int(self.window) > 0
        self._expect("window", whole, "a whole number of steps above 0")

        # Convert to one form, so that a card read back equals the card written.
        low, high = self.grid_spacing_km
        object.__setattr__(self, "variables", tuple(self.variables))
        object.__setattr__(self, "grid_spacing_km", (float(low), float(high)))
        object.__setattr__(self, "time_step_days", float(self.time_step_days))
        object.__setattr__(self, "window", int(self.window))
        for key in ("scores", "config"):
            value = getattr(self, key)
            self._expect(key, isinstance(value, dict), "a dictionary")
            try:
                plain = parse(json.dumps(value, allow_nan=False), key)
            except (TypeError, ValueError, RecursionError) as reason:
                raise WeightsError(
                    f"Model card {self.name!r}: {key} cannot be written as JSON ({reason}). "
                    "Give strings, finite numbers, booleans, lists and dictionaries only."
                ) from reason
            object.__setattr__(self, key, plain)

    def __hash__(self) -> int:
        """Hash of the JSON text (the generated hash would fail on the dictionaries)."""
        return hash(self.to_json())

    def _expect(self, key: str, holds: bool, expected: str) -> None:
        if not holds:
            raise WeightsError(
                f"Model card {reprlib.repr(self.name)}: {key} is "
                f"{reprlib.repr(getattr(self, key))}; expected {expected}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the card as JSON values.

        Returns
        -------
        dict
            One entry per field of the card; tuples are lists.
        """
        card = asdict(self)
        return card | {
            "variables": list(self.variables),
            "grid_spacing_km": list(self.grid_spacing_km),
        }

    @classmethod
    def from_dict(cls, values: object) -> ModelCard:
        """Read a card from JSON values.

        Parameters
        ----------
        values : dict
            Exactly one entry per field of the card.

        Raises
        ------
        WeightsError
            `values` is not a dictionary, or a key is missing or unknown.
        """
        if not isinstance(values, dict):
            raise WeightsError(
                f"A model card must be a JSON object; found {type(values).__name__}."
            )
        known = {item.name for item in fields(cls)}
        missing, unknown = sorted(known - set(values)), sorted(set(values) - known, key=str)
        if missing or unknown:
            raise WeightsError(
                f"The model card {reprlib.repr(values.get('name', 'without a name'))} does not "
                f"have the expected keys: missing {missing or 'none'}, unknown "
                f"{reprlib.repr(unknown) if unknown else 'none'}. The "
                "file was written by another version of xinverse, or by another program."
            )
        return cls(**values)

    def to_json(self) -> str:
        """Return the card as JSON text, keys sorted."""
        return json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read a card from JSON text.

        Parameters
        ----------
        text : str
            As written by `to_json`.

        Raises
        ------
        WeightsError
            The text is not JSON, or a key is missing or unknown.
        """
        return cls.from_dict(parse(text, "The model card"))

    def check(self, grid: Grid, da: Labelled) -> None:
        """Require a field and a grid like those of the training.

        The variable is identified by ``attrs["standard_name"]``, or by its name if it has
        none.

        Parameters
        ----------
        grid : xinverse.fields.grid.Grid
            The field's grid.
        da : xarray.DataArray
            The field; only its ``name`` and ``attrs`` are read.

        Raises
        ------
        WeightsError
            The variable, the grid spacing or the time step is another one, or the grid is
            not regular.
        UnitsError
            The units are missing or different.
        """
        check_variable(self.name, self.variables, da)
        check_units(self.name, self.units, da)
        check_space(self.name, self.grid_spacing_km, grid)
        check_time(self.name, self.time_step_days, grid)

    def fits(self, grid: Grid, da: Labelled) -> str | None:
        """Reason why the weights do not fit a field, or None if they fit.

        Parameters
        ----------
        grid : xinverse.fields.grid.Grid
            The field's grid.
        da : xarray.DataArray
            The field; only its ``name`` and ``attrs`` are read.

        Returns
        -------
        str or None
            The text of the error that `check` raises, if it raises one.
        """
        try:
            self.check(grid, da)
        except (WeightsError, UnitsError) as reason:
            return str(reason)
        return None
