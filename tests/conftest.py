"""What holds for all tests."""

from hypothesis import settings

# A machine that others use as well may pause at any moment: how long an example takes says nothing about the code.
settings.register_profile("tests", deadline=None, print_blob=True)
settings.load_profile("tests")
