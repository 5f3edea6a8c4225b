"""`corral shell`: zkCli's commands, with completion and history for people, and JSON and exit codes for scripts."""
