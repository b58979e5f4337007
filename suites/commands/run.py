"""`bench run`: a command for each suite that trains or evaluates."""

from __future__ import annotations

import typer

from . import ablations, ade20k, classification, sam_hq, stats
from .common import SuiteGroup

app = typer.Typer(
    cls=SuiteGroup,
    help="Train and evaluate in a suite; rows go to the results folder.",
    epilog="**Example**\n\n`bench run sam-hq --backbone rwkvsam-s`   and `--help` after each suite for more",
)
for module in (ade20k, classification, sam_hq, ablations, stats):
    app.registered_commands += module.app.registered_commands
