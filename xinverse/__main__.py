"""``python -m xinverse``: the same as the command ``xinverse``."""

from xinverse.cli import main

raise SystemExit(main())
