"""What looks at the kernels: compile_ahead.py without a GPU, bench.py on one.

cases/: the configurations that ship. works/: what is measured, with its peers. Nothing in kernels/ needs this folder.
"""
