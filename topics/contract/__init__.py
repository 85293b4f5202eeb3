"""Published contract of the topics: JSON Schemas and the AsyncAPI document."""
