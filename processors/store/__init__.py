"""The two stores: processors that turn `X.events` into `X.store`, `X.queue` and stop orders."""
