"""The command line: one small file a verb. Only here are arguments and the environment read."""
