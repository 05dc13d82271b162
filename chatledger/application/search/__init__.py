"""Finding messages by what was said in them."""
