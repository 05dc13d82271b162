"""``python -m chatledger``: the command line."""

import sys

from chatledger.adapters.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
