"""The message API that clients of Dify speak, at each of its entrances."""
