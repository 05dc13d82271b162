"""Webhooks: endpoints elsewhere that are told of what happens."""
