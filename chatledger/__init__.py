"""Event-sourced chat backend."""

from chatledger.version import __version__ as __version__
