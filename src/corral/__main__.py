"""The program: `corral`, and `python -m corral`."""

from __future__ import annotations

import sys

from corral.cli import INTERRUPTED


def main() -> None:
    """Run the command line. Ctrl-C is no trace, also while the code is imported."""
    try:
        from corral.cli.main import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
