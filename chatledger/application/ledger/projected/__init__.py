"""What each event changes in the read models, a module for each kind of stream."""
