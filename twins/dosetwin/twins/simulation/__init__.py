"""From records to predictions: the event program of each patient and the engine that runs it."""
