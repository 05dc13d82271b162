"""Ways to judge what may be said."""
