"""WebhookSender: tells ends of submissions over HTTP, to whoever asked for it."""
