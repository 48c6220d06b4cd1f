"""How events enter: one by one in a group commit, in bulk, and from the journal into segments."""
