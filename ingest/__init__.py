"""Ingest: the HTTP interface of the system, and its client."""
