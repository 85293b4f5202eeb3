"""Programs that the host's Python runs in the sandbox; they import only the standard library and pip."""
