"""What every table promises in pipelines/tables, checked as it stands on disk."""
