"""What each command of the command line does: take the options, call the library, print what came back.

Imports sit inside the functions, so that `minillm --help` answers at once.
"""
