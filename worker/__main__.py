"""`python -m worker` is the command `tidegate`."""

import sys

from worker.cli import main

sys.exit(main())
