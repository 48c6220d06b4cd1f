"""What declared experiments show, and whether their arms were split as planned."""
