"""What is derived from carts, and when."""
