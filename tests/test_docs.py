"""Every python block of the documentation runs, and prints what the page says it prints.

The blocks of a page run in order, in one namespace, in a temporary folder that holds what
the page takes for granted (``GIVEN``). In a page,

- a ``text`` block right after a ``python`` block is what that block prints;
- ``<!-- no-run: reason -->`` before a block leaves it out;
- ``<!-- needs: weights -->`` leaves it out where no weights are registered.
"""

from __future__ import annotations

import doctest
import io
import re
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(page.stem for page in DOCS.glob("*.md"))

FENCE = re.compile(r"^(?P<ticks>`{3,})(?P<kind>[^`]*)$")
COMMENT = re.compile(r"^<!--\s*(?P<word>no-run|needs):\s*(?P<what>.+?)\s*-->$")
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS

# What a reader has before the first line of a page: data, and names for them.
FIELD = """
import numpy as np
import xarray as xr

import xinverse

rng = np.random.default_rng(0)
ssh = xr.DataArray(
    0.1 * rng.standard_normal((12, 16, 18)).astype("f4"),
    dims=("time", "latitude", "longitude"),
    coords={
        "time": np.arange("2020-01-01", "2020-01-13", dtype="M8[D]").astype("M8[ns]"),
        "latitude": 38 + 0.1 * np.arange(16),
        "longitude": 5 + 0.1 * np.arange(18),
    },
    name="ssh",
    attrs={"units": "m", "standard_name": "sea_surface_height_above_geoid"},
)
"""
GIVEN = {
    "gaps-and-land": FIELD
    + """
seen = ssh.rename("sla").where(rng.random(ssh.shape) < 0.2)
deep = (ssh.latitude + 0 * ssh.longitude > 38.3).transpose("latitude", "longitude")
l3 = ds = seen.to_dataset().assign(depth=100.0 * deep, land_sea_mask=deep.astype("i1"))
other = xr.Dataset({"sea": deep.isel(latitude=slice(None, None, -1)).astype("i1")})
l4 = ssh.rename("sla").where(deep).to_dataset()
""",
    "index": FIELD
    + """
l3 = ssh.where(rng.random(ssh.shape) < 0.2).chunk({"time": 6})
l3.to_dataset().to_zarr("l3.zarr")
""",
    "osse": FIELD + "truth = ssh.to_dataset()\n",
}


@dataclass
class Block:
    """A fenced block: its language, its text, its first line, and the comment before it."""

    kind: str
    text: str
    line: int
    comment: re.Match[str] | None
    follows: int | None  # the line on which the block right before it began


def blocks(page: str) -> list[Block]:
    found: list[Block] = []
    lines = page.splitlines()
    fence, kind, start = "", "", 0
    comment: re.Match[str] | None = None
    previous: int | None = None
    for number, line in enumerate(lines, start=1):
        stripped = line.strip()
        if fence:
            if stripped == fence:
                text = "\n".join(lines[start : number - 1]) + "\n"
                found.append(Block(kind, text, start, comment, previous))
                fence, comment, previous = "", None, start
        elif opened := FENCE.match(stripped):
            fence, kind, start = opened["ticks"], opened["kind"].strip(), number
        elif stripped:
            comment, previous = COMMENT.match(stripped), None
    return found


def weights_are_there() -> bool:
    from xinverse.weights import cards

    return bool(cards())


def is_left_out(block: Block) -> bool:
    if block.comment is None:
        return False
    return block.comment["word"] == "no-run" or not weights_are_there()


def run(page: Path, given: str) -> None:
    space: dict[str, object] = {"__name__": "__main__"}
    exec(given, space)
    found = blocks(page.read_text("utf-8"))
    promised = {block.follows: block for block in found if block.kind == "text"}
    for block in found:
        if block.kind != "python" or is_left_out(block):
            continue
        # Empty lines before it, so that a traceback gives the line of the page.
        code = compile("\n" * block.line + block.text, str(page), "exec")
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(code, space)
        if block.line in promised:
            compare(page, promised[block.line], block, printed.getvalue())


def compare(page: Path, promised: Block, block: Block, printed: str) -> None:
    checker = doctest.OutputChecker()
    if not checker.check_output(promised.text, printed, FLAGS):
        example = doctest.Example(block.text, promised.text)
        difference = checker.output_difference(example, printed, FLAGS)
        pytest.fail(f"{page.name}, line {promised.line}: {difference}")


@pytest.fixture
def registries_as_before(monkeypatch):
    """Undo what a page registers, and keep the methods that are imported on first use."""
    from xinverse.methods.base import METHODS
    from xinverse.operators import OPERATORS
    from xinverse.priors import PRIORS
    from xinverse.solvers import SOLVERS

    for registry in (METHODS, OPERATORS, PRIORS, SOLVERS):
        monkeypatch.setattr(registry, "_entries", dict(registry))  # imports them all


@pytest.mark.usefixtures("registries_as_before")
@pytest.mark.parametrize("name", PAGES)
def test_the_blocks_of_a_page_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(DOCS / f"{name}.md", GIVEN.get(name, ""))


def test_every_page_is_in_the_table_of_contents():
    index = (DOCS / "index.md").read_text("utf-8")
    listed = next(b.text for b in blocks(index) if b.kind == "{toctree}").split()
    known = {entry.rstrip("*") for entry in listed}
    assert known >= set(PAGES) - {"index"}


def test_links_between_pages_lead_somewhere():
    missing = []
    for name in PAGES:
        text = (DOCS / f"{name}.md").read_text("utf-8")
        for target in re.findall(r"\]\(([\w./-]+\.(?:md|png))(?:#[\w-]+)?\)", text):
            if not (DOCS / target).is_file():
                missing.append(f"{name}.md: {target}")
    assert not missing


PAGE = """
```python
a = 1
```
<!-- no-run: it would fail -->
```python
raise ValueError("it fails")
```
```python
print(a + 1)
```

```text
2
```
"""


def test_a_block_that_prints_something_else_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    run(page, "")
    page.write_text(PAGE.replace("a + 1", "a + 2"), encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match=r"page\.md, line 13"):
        run(page, "")


def test_a_block_that_fails_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE.replace("<!-- no-run: it would fail -->", ""), encoding="utf-8")
    with pytest.raises(ValueError, match="it fails"):
        run(page, "")
