"""The ledger and its read models on SQLAlchemy Core."""
