"""What proves that the ledger is what it was."""
