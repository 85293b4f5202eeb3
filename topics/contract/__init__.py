"""What is published about the topics: schemas and the AsyncAPI document."""
