"""`python -m antiphon_check URL`, or the folder itself: `python src/antiphon_check URL`."""

import sys
from pathlib import Path
from typing import NoReturn

if not __package__:
    # Run as a folder, the package is not on the path yet.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from antiphon_check.command import main


def console() -> NoReturn:
    """The command of the package that is installed alone, and of the archive."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    console()
