"""WebhookSender: notifies receivers over HTTP of the ends of submissions that requested it."""
