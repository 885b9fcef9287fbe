"""The device gateway: brings commands to devices, once each, and their answers back.

Effects are exactly once although Kafka, the process and the machine may stop at any moment, because three
things are one SQLite transaction: what the device now does, what became of the command, and the messages
that say so. The messages leave after the commit and are kept until Kafka has them; a second copy carries the
same (device, boot, sequence) and is recognised.
"""
