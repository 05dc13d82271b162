"""Forgetting: on request, by age, and what stands in the way of it."""
