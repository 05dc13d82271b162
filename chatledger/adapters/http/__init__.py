"""What chatledger looks like over HTTP."""
