"""The methods by name; each module is imported when its method is used."""

from __future__ import annotations

from xinverse.methods.base import METHODS, Method

__all__ = ["available", "find"]

# Names of methods in other packages.
METHODS.suggest(
    **{
        "4dvarnet-starter": "4dvarnet-reference",
        "blue": "oi",
        "dincae": "unet",
        "divand": "oi",
        "duacs": "oi",
        "gaussian-process": "oi",
        "gp": "oi",
        "gpr": "oi",
        "inpaint": "tikhonov",
        "kriging": "oi",
        "objective-analysis": "oi",
        "objective-mapping": "oi",
        "optimal-interpolation": "oi",
        "spline": "tikhonov",
        "total-variation": "tv",
        "eof": "dineof",
    }
)
METHODS.declare(
    **{
        "4dvar": "xinverse.methods.four_dvar",
        "4dvarnet": "xinverse.methods.learned",
        "4dvarnet-reference": "xinverse.methods.reference",
        "dineof": "xinverse.methods.dineof",
        "fixed-point": "xinverse.methods.fixed_point",
        "oi": "xinverse.methods.oi",
        "tikhonov": "xinverse.methods.regularised",
        "tv": "xinverse.methods.regularised",
        "unet": "xinverse.methods.learned",
        "variational": "xinverse.methods.variational",
    }
)


def available() -> dict[str, type[Method]]:
    """Return every registered method, by name."""
    return {name: METHODS[name] for name in sorted(METHODS)}


def find(name: str) -> type[Method]:
    """Return the method of a name; raise `UnknownNameError` with near names if unknown."""
    return METHODS[name]
