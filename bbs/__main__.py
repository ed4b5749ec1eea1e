"""``python -m bbs`` is the ``bbs`` command."""

import sys

from bbs.entry import main

sys.exit(main())
