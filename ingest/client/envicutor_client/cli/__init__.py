"""Commands of the client, which `envicutor-client` and `envicutor` have."""
