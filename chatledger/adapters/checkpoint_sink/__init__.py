"""Places outside that keep checkpoints too."""
