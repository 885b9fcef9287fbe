"""Virtual trials over Ray: patients in chunks, kept as they finish, under each policy."""
