"""The subcommands of `envicutor`."""
