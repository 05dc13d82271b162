"""chatledger in a host's own process, without HTTP: the use cases as methods, their refusals as exceptions."""
