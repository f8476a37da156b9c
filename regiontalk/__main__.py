"""``python -m regiontalk``: the command line, for programs that start it with their own Python."""

from regiontalk.cli.main import app

if __name__ == "__main__":
    app(prog_name="regiontalk")
