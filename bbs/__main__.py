"""``python -m bbs`` is the ``bbs`` command."""

import sys

from bbs.commands.entry import main

sys.exit(main())
