"""A gateway before brokers with users: it bounds what a client can make the broker do.

Kafka allocates what a length announces, keeps an object for each record of a batch while it checks them, and
has no limit for what a compressed batch unpacks to. The gateway reads each request whole before it passes it
on, and looks into those that produce:

    client --TLS, SASL--> gateway --TLS with the members' certificate, the same SASL--> broker

It knows of no passwords: the broker decides who a user is, and what the user may do.
"""
