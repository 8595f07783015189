"""Parts of ``convert_person_networks.py``: reading the original files, naming their weights, rounding to int8."""
