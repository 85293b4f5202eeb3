"""Programs that run in the sandbox, by the host's Python and nothing but its standard library."""
