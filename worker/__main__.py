"""`python -m worker` is the command `tidegate`."""

import sys

from worker.cli import command

sys.exit(command())
