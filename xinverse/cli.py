"""The command ``xinverse``: run the demo, list methods, fetch weights, process files."""

from __future__ import annotations

import argparse
import sys
from ast import literal_eval
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xinverse._version import __version__
from xinverse.errors import OptionError, UnknownNameError, XinverseError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments of the command. Default: those of the shell.

    Returns
    -------
    int
        0, or 1 after an error, which is printed to the error stream.
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (XinverseError, OSError) as error:
        print(f"xinverse: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xinverse",
        description="Complete, error-barred ocean fields from gappy xarray data.",
    )
    parser.add_argument("--version", action="version", version=f"xinverse {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    one = commands.add_parser("demo", help="simulate a sea, observe it, fill it, score it")
    one.add_argument("--folder", type=Path, default=Path("demo"), help="default: demo")
    one.add_argument("--quick", action="store_true", help="a small sea, in seconds")
    one.set_defaults(run=_demo)

    one = commands.add_parser("methods", help="list the methods and their options")
    one.set_defaults(run=_methods)

    one = commands.add_parser("fetch", help="put registered weights into the cache")
    one.add_argument("name", help="name of the weights")
    one.set_defaults(run=_fetch)

    one = commands.add_parser("show", help="describe a Zarr store or NetCDF file")
    one.add_argument("file", type=Path)
    one.set_defaults(run=_show)

    one = commands.add_parser(
        "interpolate",
        help="fill the gaps of a Zarr store or NetCDF file, chunk by chunk",
        description="Fill the gaps of every field of a file. The output is complete or absent.",
    )
    one.add_argument("input", type=Path)
    one.add_argument("output", type=Path, help="a name in .zarr or .nc")
    one.add_argument("--method", default="oi", help="default: oi")
    one.add_argument("--variable", help="fill only this variable (with its mask, if any)")
    one.add_argument("--weights", help="name of registered weights, or a file")
    one.add_argument("--mask", help="name of the mask variable: 1 on sea, 0 on land")
    one.add_argument("--error", action="store_true", help="also write the error")
    one.add_argument("--overwrite", action="store_true", help="replace an existing output")
    one.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the method, such as length_scale=90; may be repeated",
    )
    one.set_defaults(run=_interpolate)
    return parser


def _demo(arguments: argparse.Namespace) -> None:
    from xinverse.demo import run

    run(arguments.folder, quick=arguments.quick, progress=sys.stderr.isatty())


def _methods(_: argparse.Namespace) -> None:
    from xinverse.methods import table

    print(table())


def _fetch(arguments: argparse.Namespace) -> None:
    from xinverse.weights import fetch

    print(fetch(arguments.name))


def _show(arguments: argparse.Namespace) -> None:
    from xinverse.files import open_lazily
    from xinverse.summary import summarise

    with open_lazily(arguments.file) as ds:
        print(summarise(ds))


def _interpolate(arguments: argparse.Namespace) -> None:
    from xinverse.files import check_target, open_lazily, write
    from xinverse.verbs.choose import variables_with_gaps
    from xinverse.verbs.interpolate import interpolate

    check_target(arguments.output, overwrite=arguments.overwrite)
    keywords = {
        "method": arguments.method,
        "weights": arguments.weights,
        "mask": arguments.mask,
        "error": arguments.error,
        **_options(arguments.option),
    }
    with open_lazily(arguments.input) as ds:
        chosen = _without_others(ds, arguments.variable, keywords)
        # Reads the fields once more, to know which of several have gaps.
        names = variables_with_gaps(
            chosen, keywords.get("dims"), keywords, keywords["mask"], read=True
        )
        filled = interpolate(chosen, variables=names, **keywords)
        progress = sys.stderr.isatty()
        write(filled, arguments.output, overwrite=arguments.overwrite, progress=progress)
    print(arguments.output)


def _options(words: Sequence[str]) -> dict[str, Any]:
    """Convert ``["length_scale=90", "covariance=matern32"]`` to names and values."""
    options: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (equals and name.isidentifier()):
            raise OptionError(f"--option {word}: expected NAME=VALUE, such as length_scale=90.")
        try:
            options[name] = literal_eval(value)
        except (ValueError, SyntaxError):  # a word, such as the name of a covariance
            options[name] = value
    return options


def _without_others(ds: xr.Dataset, variable: str | None, keywords: Mapping[str, Any]) -> Any:
    """The dataset without the other fields; masks and variables in options are kept."""
    from xinverse.verbs.choose import variables_to_fill

    if variable is None:
        return ds
    fields = variables_to_fill(ds, keywords.get("dims"), keywords)
    if variable not in fields:
        raise UnknownNameError("field", variable, map(str, fields))
    return ds.drop_vars([name for name in fields if name != variable])
