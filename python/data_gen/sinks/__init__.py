"""The sinks' former names."""
