"""A gateway before brokers with users: it bounds what a client can make the broker do.

Kafka allocates the size that a request announces, keeps an object for each record of a batch while it checks
them, and has no limit on the unpacked size of a batch. The gateway reads each request whole before it passes
it on, and checks the batches of those that produce:

    client --TLS, SASL--> gateway --TLS with the members' certificate, the same SASL--> broker

It has no passwords: the broker authenticates users and authorises their requests.
"""
