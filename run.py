#!/usr/bin/env python3
"""The BIDS-App entry point: runs NiDecomp from a clone, installed or not."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from nidecomp.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
