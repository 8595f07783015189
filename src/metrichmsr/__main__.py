"""``python -m metrichmsr`` is the command ``metrichmsr``."""

import sys

from metrichmsr.cli import main

if __name__ == "__main__":
    sys.exit(main())
