"""`python -m sparrow` is `sparrow`."""

import sys

from sparrow.cli.main import main

sys.exit(main())
