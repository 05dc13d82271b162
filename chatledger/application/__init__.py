"""The use cases of chatledger and the ports that they need. Async, and embeddable as it is."""
