"""Subcommands of `envicutor`, a module for each command or group."""
