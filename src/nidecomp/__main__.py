"""``python -m nidecomp`` is the command ``nidecomp``."""

from nidecomp.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
