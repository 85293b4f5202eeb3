"""The components that consume topics: stores, workers, builders, health checkers."""
