"""The command line: from a file of features to a subset to label, with its certificate.

Thin over the public functions of `skmm`, which never imports it; the program is `skmm_cli.main`.
"""
