"""What Dagster runs: a folder per topic, with thin assets over pure functions and the checks of their tables."""
