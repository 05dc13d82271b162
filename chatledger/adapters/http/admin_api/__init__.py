"""What only operators do: ``/v1/admin``."""
