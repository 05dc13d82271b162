"""How an answer comes about: worker, attempt, dispatch, recovery."""
