"""Where initial depth comes from: one protocol, one adapter a file, all of them by name in ``registry``."""
