"""Replay of recorded patients through Kafka and the shards: every level is predicted before it is seen."""
