"""Replay: what clients were shown, at any pace; and the same questions put to another generator."""
