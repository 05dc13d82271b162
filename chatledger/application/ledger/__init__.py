"""How facts get onto the ledger and off it again."""
