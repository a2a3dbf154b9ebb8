"""``python -m mailerq``."""

import sys

from mailerq.cli import main

sys.exit(main())
