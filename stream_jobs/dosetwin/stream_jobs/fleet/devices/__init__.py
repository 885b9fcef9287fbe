"""The devices of the fleet, one a file. Those with many values a day are arrays over their patients."""
