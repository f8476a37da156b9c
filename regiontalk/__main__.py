"""``python -m regiontalk``: the command, for launchers that start modules."""

from regiontalk.cli.main import app

if __name__ == "__main__":
    app()
