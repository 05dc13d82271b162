"""Ways to answer."""
