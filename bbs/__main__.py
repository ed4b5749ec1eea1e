"""``python -m bbs`` is the ``bbs`` command."""

import sys

from bbs.cli import main

sys.exit(main())
