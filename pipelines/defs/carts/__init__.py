"""What carts are now, and whether their orders charged what their events add up to."""
