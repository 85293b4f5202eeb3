"""Commands of the client: `submit`, `watch`, `show`, `list`, `cancel`."""
