"""The hot path: a shard owns partitions and runs poll, check, assimilate, decide, write, commit."""
