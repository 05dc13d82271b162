"""Event-sourced chat backend."""

__version__ = "0.1.0"
