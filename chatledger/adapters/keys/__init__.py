"""Where data keys live."""
