"""When jobs run: by the hour, by the night, when a file is dropped, and over days of the past."""
