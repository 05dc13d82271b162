"""Providers of embeddings."""
