"""The figures that chatledger wants to reach, each measured beside its floor."""
