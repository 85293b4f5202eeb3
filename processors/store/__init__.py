"""The two stores: what turns `X.events` into `X.store`, `X.queue` and stops."""
