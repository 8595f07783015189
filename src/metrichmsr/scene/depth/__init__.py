"""Where initial depth comes from: one protocol, one adapter a file."""
