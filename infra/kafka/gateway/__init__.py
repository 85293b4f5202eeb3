"""Gateway in front of brokers with users. It bounds the resources that a client can take from a broker.

Kafka allocates the size that a request announces. It keeps an object for each record of a batch while it
checks them. It has no limit on the unpacked size of a batch. The gateway reads each request whole before it
forwards it, and checks the batches of Produce requests.

    client --TLS, SASL--> gateway --TLS with the members' certificate, the same SASL--> broker

The gateway has no passwords. The broker authenticates users and authorises their requests.
"""
