"""Pages for people, health for machines, and the API's own description."""
