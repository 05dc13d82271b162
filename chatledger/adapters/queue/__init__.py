"""Task queues and live buses."""
