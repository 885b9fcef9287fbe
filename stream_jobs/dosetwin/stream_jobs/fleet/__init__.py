"""The synthetic fleet: virtual patients, their devices, and everything that goes wrong on the way."""
