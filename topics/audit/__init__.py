"""Audits, which read the log again: histories, comparison with the stores, search for stuck attempts."""
