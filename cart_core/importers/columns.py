"""Lines of separated values as columns of text, and the rows of ACTS that they come to."""
