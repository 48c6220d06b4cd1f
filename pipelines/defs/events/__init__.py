"""What comes in: files dropped into a shop's inbox, and the events that they become."""
