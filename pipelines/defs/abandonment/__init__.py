"""When carts went silent, what became of it, and telling the carts so."""
