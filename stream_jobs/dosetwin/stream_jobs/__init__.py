"""Shards (the hot path), the control app, the device gateway, the synthetic fleet, replay."""
