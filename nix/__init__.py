"""The path from dependencies to a store path: package sets, evaluation, builds, the Cache of a host."""
