"""`python -m sparrow` is `sparrow`."""

import sys

from sparrow.cli import main

sys.exit(main())
