"""``python -m autoal``: the same program as ``autoal``."""

import sys

from autoal.cli import main

if __name__ == "__main__":
    sys.exit(main())
