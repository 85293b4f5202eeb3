"""The path from dependencies to a store path: package sets, evaluation, builds, the Cache of a host.

`Cache.install` is the entry: names or an expression become packages, then contents, then a store path.
"""
