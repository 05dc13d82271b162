"""What stands between the application and the world; no adapter knows another."""
