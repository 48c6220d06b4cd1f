"""What people look at: the headline figures and the report."""
