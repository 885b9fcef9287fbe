"""Everything on one machine: broker, shards, control app, fleet, dashboard, and an independent count."""
