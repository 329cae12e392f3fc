"""The command line, `lifetime`: the only package that prints. It imports torch and avalanche only where needed."""

from scenarios.cli.main import main as main
