"""The command line: `lifetime`. The only package that prints; torch and avalanche are imported when they are needed."""

from scenarios.cli.main import main as main
