"""Other people's software against ours, and their files in ours."""
