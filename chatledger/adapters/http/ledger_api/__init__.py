"""What goes beyond Dify: tasks, single messages, their events and their resumable streams."""
